//! What daemons are fed with: plain values that follow from the lab, one for each role on each host.
//! Pure, so that what a host serves can be shown, compared and exported without asking it.

pub mod dns;
