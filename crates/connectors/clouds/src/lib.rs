//! Clouds behind the door of `ports`: AWS by its Query interface, vSphere by its SOAP interface. They only look.
//!
//! ```text
//! aws ─────► query (form, signature, errors) ─┐
//! vsphere ─► soap (envelope, session, faults) ┴─► xml ─► ports::clouds::Exchange
//! ```
//! Which addresses may be spoken to, certificates and time limits are the exchange's business.

mod aws;
mod vsphere;
mod xml;

use domain::workloads::CloudAt;
use ports::clouds::{Cloud, Exchange};
use std::sync::Arc;

/// The cloud behind a description. Nothing is sent yet.
pub fn open(at: &CloudAt, exchange: Arc<dyn Exchange>) -> Arc<dyn Cloud> {
    match at {
        CloudAt::Aws(at) => Arc::new(aws::Aws::new(at.clone(), exchange)),
        CloudAt::Vsphere(at) => Arc::new(vsphere::Vsphere::new(at.clone(), exchange)),
    }
}
