//! The node that exchanges reports with peers, and the trust in them. Empty as yet.
//!
//! It will deliver what peers say, bounded and authenticated; it never touches profiles or the firewall.
#![forbid(unsafe_code)]
