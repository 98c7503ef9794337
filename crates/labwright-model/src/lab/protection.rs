//! Data protection: where copies go, how often, and how they are proven.

use crate::decode::{Foreign, Many, Table, choice, section};
use crate::span::Spanned;
use crate::units::{Date, Period, Schedule};

section! {
    /// Repositories, policies and offline copies.
    pub struct Protection {
        /// Places that backups are kept in.
        repositories: Table<Repository>,
        /// How often, where to, how long.
        policies: Table<Policy>,
        /// Ways back after a change that went wrong. A snapshot lies on the disk that it is of: it is no backup.
        snapshots: Table<Snapshots>,
        /// Copies that are not connected: USB disks.
        offline: Table<Offline>,
        /// Hosts and services in the order in which they are brought back, the first ones first. A name that is both a
        /// host and a service is both. Absent: the order follows from who plays which role and who needs whom.
        recovery: Many<Spanned<String>>,
    }
}

section! {
    /// A place that backups are kept in.
    pub struct Repository {
        /// The host that it is on.
        on: Option<Spanned<String>>,
        /// The path on that host.
        path: Option<Spanned<String>>,
        /// Its address, where it is not a host of the lab: an S3 or REST URL.
        url: Option<Spanned<String>>,
        /// The format and program.
        engine: Engine = Engine::Embedded,
        /// The passphrase, as a reference to a secret.
        passphrase: Option<Spanned<String>>,
        /// Settings of the engine, by its own names.
        settings: Foreign,
    }
}

choice! {
    /// The format of a repository, and the program that writes it.
    pub enum Engine {
        /// Labwright's own, in restic's format.
        Embedded = "embedded",
        Restic = "restic",
        Borg = "borg",
    }
}

section! {
    /// How often, where to, how long.
    pub struct Policy {
        /// When it runs.
        schedule: Spanned<Schedule>,
        /// The repositories that it writes to.
        to: Many<Spanned<String>>,
        /// What is kept when old backups are removed.
        keep: Keep,
        /// How often a restore is rehearsed.
        drill: Option<Spanned<Schedule>>,
        /// How old the last proven restore may be.
        proof_within: Option<Spanned<Period>>,
    }
    required ["to"]
}

section! {
    /// What is kept, counted as restic and borg count it.
    pub struct Keep {
        /// The newest, as many as this.
        last: Option<u32>,
        /// One an hour, for as many hours.
        hourly: Option<u32>,
        /// One a day, for as many days.
        daily: Option<u32>,
        /// One a week, for as many weeks.
        weekly: Option<u32>,
        /// One a month, for as many months.
        monthly: Option<u32>,
        /// One a year, for as many years.
        yearly: Option<u32>,
        /// Everything younger than this.
        within: Option<Period>,
    }
}

section! {
    /// Snapshots that are taken on a schedule.
    pub struct Snapshots {
        /// The virtual machines and containers that they are of, by host name.
        of: Many<Spanned<String>>,
        /// When they are taken.
        schedule: Spanned<Schedule>,
        /// How many stay.
        keep: Keep,
    }
    required ["of"]
}

section! {
    /// A copy that is not connected.
    pub struct Offline {
        /// The file system's label, by which the disk is known when it is plugged in.
        label: Option<Spanned<String>>,
        /// How often it should be renewed.
        every: Option<Spanned<Period>>,
        /// The day it was last renewed, such as `2026-05-01`. `labwright check --as-of DATE` tells whether it is overdue.
        last: Option<Spanned<Date>>,
        /// Where it is kept.
        location: Option<Spanned<String>>,
    }
}
