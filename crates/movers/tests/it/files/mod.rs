//! The files mover.

mod backing;
mod changing;
mod comparing;
mod crashing;
mod damaged;
mod failing;
mod given_up;
mod large;
mod metadata;
mod partial;
mod planning;
mod random;
mod scale;
mod verifying;
mod world;
