//! What STS and EC2 answer, as the door's own types.

use crate::xml;
use ports::Result;
use ports::clouds::{Disk, Identity, Machine, PowerState};
use roxmltree::Node;
use std::collections::BTreeSet;

/// One answer of `DescribeInstances`: machines with the ids of their volumes.
pub struct Page {
    pub machines: Vec<(Machine, Vec<String>)>,
    pub next: Option<String>,
}

/// Reads `GetCallerIdentity`.
pub fn identity(body: &[u8], subject: &str) -> Result<Identity> {
    let document = xml::parse(xml::text(body, subject)?, subject)?;
    let result = xml::at(document.root_element(), &["GetCallerIdentityResult"]);
    let read = |result: Node<'_, '_>| Some(Identity { account: xml::word(result, &["Account"])?, user: xml::word(result, &["Arn"])? });
    result.and_then(read).ok_or_else(|| xml::strange(subject, "does not say who we are"))
}

/// Reads `DescribeInstances`.
pub fn page(body: &[u8], subject: &str) -> Result<Page> {
    let document = xml::parse(xml::text(body, subject)?, subject)?;
    let root = document.root_element();
    if xml::at(root, &["reservationSet"]).is_none() {
        return Err(xml::strange(subject, "is no list of machines"));
    }
    let instances = xml::items(root, "reservationSet").flat_map(|r| xml::items(r, "instancesSet"));
    Ok(Page { machines: instances.filter_map(machine).collect(), next: xml::word(root, &["nextToken"]) })
}

/// Reads `DescribeVolumes`.
pub fn volumes(body: &[u8], subject: &str) -> Result<Vec<Disk>> {
    let document = xml::parse(xml::text(body, subject)?, subject)?;
    let disk = |v: Node<'_, '_>| {
        let gibibytes: u64 = xml::word(v, &["size"])?.parse().ok()?;
        Some(Disk { id: xml::word(v, &["volumeId"])?, bytes: gibibytes.checked_mul(1 << 30)? })
    };
    Ok(xml::items(document.root_element(), "volumeSet").filter_map(disk).collect())
}

/// `None` for one that is on its way out.
fn machine(of: Node<'_, '_>) -> Option<(Machine, Vec<String>)> {
    let state = match xml::word(of, &["instanceState", "name"]).as_deref() {
        Some("pending") => PowerState::Starting,
        Some("running") => PowerState::Running,
        Some("stopping") => PowerState::Stopping,
        Some("stopped") => PowerState::Stopped,
        Some("shutting-down" | "terminated") => return None,
        _ => PowerState::Unknown,
    };
    let tags = |key: &'static str| xml::items(of, "tagSet").find(move |t| xml::word(*t, &["key"]).as_deref() == Some(key));
    let volumes = xml::items(of, "blockDeviceMapping").filter_map(|d| xml::word(d, &["ebs", "volumeId"])).collect();
    let machine = Machine {
        id: xml::word(of, &["instanceId"])?,
        name: tags("Name").and_then(|t| xml::word(t, &["value"])),
        state,
        addresses: addresses(of).into_iter().collect(),
        zone: xml::word(of, &["placement", "availabilityZone"]),
        disks: Vec::new(),
    };
    Some((machine, volumes))
}

/// Inner and outer ones, of all its network cards.
fn addresses(of: Node<'_, '_>) -> BTreeSet<String> {
    let mut out: BTreeSet<String> =
        ["privateIpAddress", "ipAddress", "ipv6Address", "privateDnsName", "dnsName"].iter().filter_map(|field| xml::word(of, &[field])).collect();
    for card in xml::items(of, "networkInterfaceSet") {
        out.extend(xml::items(card, "ipv6AddressesSet").filter_map(|a| xml::word(a, &["ipv6Address"])));
        for address in xml::items(card, "privateIpAddressesSet") {
            let paths: [&[&str]; 4] = [&["privateIpAddress"], &["privateDnsName"], &["association", "publicIp"], &["association", "publicDnsName"]];
            out.extend(paths.iter().filter_map(|path| xml::word(address, path)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::workloads::Address;
    use ports::ErrorKind;

    /// From EC2's own documentation, shortened, with what only real machines have: IPv6, a second card, an address from outside.
    const ANSWER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>8f7724cf</requestId><reservationSet><item>
 <reservationId>r-1</reservationId><instancesSet><item><instanceId>i-1</instanceId><instanceState><code>16</code><name>running</name></instanceState>
 <privateDnsName>ip-192-168-1-88.eu-west-1.compute.internal</privateDnsName><dnsName>ec2-54-194-252-215.eu-west-1.compute.amazonaws.com</dnsName>
 <placement><availabilityZone>eu-west-1c</availabilityZone></placement><privateIpAddress>192.168.1.88</privateIpAddress><ipAddress>54.194.252.215</ipAddress>
 <blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-1</volumeId></ebs></item></blockDeviceMapping>
 <tagSet><item><key>owner</key><value>x</value></item><item><key>Name</key><value>Server 1</value></item></tagSet>
 <networkInterfaceSet><item><privateIpAddressesSet><item><privateIpAddress>192.168.1.88</privateIpAddress></item><item><privateIpAddress>192.168.1.89</privateIpAddress>
 <association><publicIp>54.0.0.9</publicIp></association></item></privateIpAddressesSet>
 <ipv6AddressesSet><item><ipv6Address>2001:db8:1234:1a2b:0:0:0:123</ipv6Address></item></ipv6AddressesSet></item></networkInterfaceSet></item>
 <item><instanceId>i-2</instanceId><instanceState><name>terminated</name></instanceState></item>
 <item><instanceId>i-3</instanceId><instanceState><name>hovering</name></instanceState></item></instancesSet></item></reservationSet><nextToken>more</nextToken></DescribeInstancesResponse>"#;

    #[test]
    fn every_address_of_a_machine_is_its_own() {
        let page = page(ANSWER.as_bytes(), "aws").unwrap();
        let machines: Vec<&Machine> = page.machines.iter().map(|(m, _)| m).collect();
        assert_eq!(machines.iter().map(|m| (m.id.as_str(), m.state)).collect::<Vec<_>>(), [("i-1", PowerState::Running), ("i-3", PowerState::Unknown)]);
        assert_eq!((page.next.as_deref(), machines[0].name.as_deref(), machines[0].zone.as_deref()), (Some("more"), Some("Server 1"), Some("eu-west-1c")));
        assert_eq!(page.machines[0].1, ["vol-1"]);
        for text in [
            "192.168.1.88",
            "192.168.1.89",
            "54.194.252.215",
            "54.0.0.9",
            "2001:DB8:1234:1a2b::123",
            "IP-192-168-1-88.eu-west-1.compute.internal",
            "ec2-54-194-252-215.eu-west-1.compute.amazonaws.com",
        ] {
            assert!(machines[0].is_at(&Address::parse(text).unwrap()), "{text}");
        }
        assert!(!machines[0].is_at(&Address::parse("192.168.1.8").unwrap()));
    }

    #[test]
    fn another_answer_is_no_empty_list() {
        for text in ["<html/>", "<DescribeInstancesResponse/>", "", "\u{0}"] {
            assert_eq!(page(text.as_bytes(), "aws").err().map(|e| e.kind), Some(ErrorKind::Protocol), "{text}");
        }
        assert_eq!(identity(b"<GetCallerIdentityResponse/>", "aws").unwrap_err().kind, ErrorKind::Protocol);
        assert_eq!(page(b"\xff", "aws").err().map(|e| e.kind), Some(ErrorKind::Protocol));
    }
}
