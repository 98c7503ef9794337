//! Codes of the findings that reading itself makes; their pages stand beside the rules in `labwright-plan`.
//! Rules that look at a whole lab own their codes themselves.

pub const SYNTAX: &str = "LW-LAB-001";
pub const UNKNOWN_KEY: &str = "LW-LAB-002";
pub const DUPLICATE_KEY: &str = "LW-LAB-003";
pub const WRONG_VALUE: &str = "LW-LAB-004";
pub const TOO_LARGE: &str = "LW-LAB-005";
pub const INCLUDE: &str = "LW-LAB-006";
pub const MISSING_KEY: &str = "LW-LAB-007";
pub const BAD_REFERENCE: &str = "LW-LAB-008";
pub const BAD_ALLOW: &str = "LW-LAB-009";
pub const STALE_ALLOW: &str = "LW-LAB-010";
pub const EMPTY: &str = "LW-LAB-011";
