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

/// A file that a Compose project is read from cannot be read.
pub const COMPOSE_FILE: &str = "LW-SVC-101";
/// A key of the Compose Specification that is not supported.
pub const COMPOSE_UNSUPPORTED: &str = "LW-SVC-102";
/// A variable in a Compose file that has no value.
pub const COMPOSE_VARIABLE: &str = "LW-SVC-103";
/// `extends` or `include` that leads nowhere, or back.
pub const COMPOSE_EXTENDS: &str = "LW-SVC-104";
/// Something is named that the project does not declare.
pub const COMPOSE_UNDECLARED: &str = "LW-SVC-105";
/// An image that would have to be built.
pub const COMPOSE_BUILD: &str = "LW-SVC-106";
/// A key of old that has no effect, or a better form.
pub const COMPOSE_LEGACY: &str = "LW-SVC-107";
/// A key that only a swarm heeds.
pub const COMPOSE_SWARM: &str = "LW-SVC-108";
/// Two values that contradict one another.
pub const COMPOSE_CONTRADICTION: &str = "LW-SVC-109";
/// A value that means something else than it looks like.
pub const COMPOSE_MISLEADING: &str = "LW-SVC-110";
/// A secret that a container would have where others can read it.
pub const COMPOSE_SECRET: &str = "LW-SVC-111";
/// A secret in a plain variable of a container, which its engine writes to its disk.
pub const SECRET_VARIABLE: &str = "LW-SVC-112";
