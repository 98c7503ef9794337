//! Rules about copies of data: where they are, how long they are kept, and whether anybody tried them.

mod copied_as_files;
mod locked_passphrase;
mod no_drill;
mod offline_copy;
mod overdue_copy;
mod proof_expires;
mod shared_fate;
mod short_retention;
mod snapshot_as_backup;
mod too_few_copies;
mod unencrypted;
mod unused;

mod interval;
pub(super) mod into_itself;
pub(super) mod places;
pub(super) mod policies;

pub use copied_as_files::CopiedAsFiles;
pub use locked_passphrase::LockedPassphrase;
pub use no_drill::NoDrill;
pub use offline_copy::OfflineCopy;
pub use overdue_copy::{CODE as OVERDUE, OverdueCopy};
pub use proof_expires::ProofExpires;
pub use shared_fate::SharedFate;
pub use short_retention::ShortRetention;
pub use snapshot_as_backup::SnapshotAsBackup;
pub use too_few_copies::TooFewCopies;
pub use unencrypted::{Unencrypted, says_no_encryption};
pub use unused::UnusedProtection;
