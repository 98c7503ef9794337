//! DNS for the lab: who answers, where other names are asked, what is not answered.

use std::net::IpAddr;

use crate::decode::{Many, Table, choice, or_string, or_strings, section};
use crate::span::Spanned;
use crate::units::{Period, Size};

section! {
    /// DNS for the lab; the short form names the resolvers.
    pub struct Dns {
        /// The hosts that answer; two are better than one.
        on: Many<Spanned<String>>,
        /// The service that answers, where another program is the resolver and is described under `services`, such as a
        /// Pi-hole. Labwright then runs none of its own.
        service: Option<Spanned<String>>,
        /// The program that answers. `adguard` and `pihole`: one that is there already gets the lab's names over its API, and
        /// everything else of it stays as it is.
        software: DnsSoftware = DnsSoftware::Labwright,
        /// How that program's API is reached.
        api: DnsApi,
        /// The addresses that it listens on, port 53; all of its hosts' when absent.
        listen: Many<Spanned<IpAddr>>,
        /// Where other names are asked: `tls://9.9.9.9`, `https://…/dns-query`, or an address.
        upstream: Many<Spanned<String>>,
        /// Which upstream is asked first.
        order: UpstreamOrder = UpstreamOrder::Fastest,
        /// Resolvers, by address, that know the names of upstreams.
        bootstrap: Many<Spanned<IpAddr>>,
        /// Domains that are asked elsewhere: `corp.example: 10.9.0.1`.
        forward: Table<Many<Spanned<String>>>,
        /// Whether signatures are checked (DNSSEC); an answer that fails is not given.
        dnssec: bool,
        /// Lists of names that are not answered: files, or URLs.
        block: Many<Spanned<String>>,
        /// Names that are answered although a list has them.
        allow: Many<Spanned<String>>,
        /// Rules of one's own: a name with all below it, `||name^`, `@@||name^`, or `/expression/`.
        rules: Many<Spanned<String>>,
        /// Clients that other lists hold for.
        groups: Table<DnsGroup>,
        /// What is answered for a name that is blocked.
        blocked: BlockedAnswer = BlockedAnswer::Zero,
        /// How often lists are fetched again.
        refresh: Period = Period(std::time::Duration::from_secs(24 * 3600)),
        /// Domains outside the lab whose names may lead to private addresses.
        private_answers: Many<Spanned<String>>,
        /// Tells browsers not to go past this resolver: `use-application-dns.net` and Apple's private relay do not exist.
        canary: bool = true,
        /// Queries a second that one client may ask; 0 is without limit.
        rate_limit: u32 = 1000,
        /// What is remembered of others' answers.
        cache: DnsCache,
        /// What is written down of queries.
        log: DnsLog,
        /// How long others may remember the lab's own names.
        ttl: Period = Period(std::time::Duration::from_secs(60)),
        /// Further records of the lab's zone: an address, the name of a host or service, or a map for other types.
        records: Table<DnsRecord>,
    }
    short (node, decoder) { Many::from_node(node, decoder).map(|on| Dns { on, ..Dns::default() }) }
    schema or_strings
}

choice! {
    /// The program that answers.
    pub enum DnsSoftware {
        /// Labwright's own, as a role of `labwright serve`.
        Labwright = "labwright",
        /// An AdGuard Home that is there already: the lab's names are its DNS rewrites.
        AdGuard = "adguard",
        /// A Pi-hole, version 6 or later, that is there already: the lab's names are its local DNS records.
        PiHole = "pihole",
    }
}

section! {
    /// How the API of an AdGuard Home or a Pi-hole is reached; the short form is its address.
    pub struct DnsApi {
        /// Its address as its own host reaches it: `http://127.0.0.1:3000`. When absent, AdGuard Home is expected at
        /// `http://127.0.0.1:3000`, Pi-hole at `http://127.0.0.1`.
        url: Option<Spanned<String>>,
        /// The user of AdGuard Home; Pi-hole has none.
        user: Option<Spanned<String>>,
        /// The password, as a reference to a secret. A Pi-hole without a password needs none.
        password: Option<Spanned<String>>,
    }
    short (node, decoder) {
        String::from_node(node, decoder).map(|url| DnsApi { url: Some(Spanned::new(url, node.span)), ..DnsApi::default() })
    }
    schema or_string
}

choice! {
    /// Which upstream is asked first. Another is asked as soon as one is late or fails.
    pub enum UpstreamOrder {
        /// The one that answered fastest of late.
        Fastest = "fastest",
        /// All at once; the first answer counts.
        Race = "race",
        /// In the order of the file.
        Given = "given",
    }
}

choice! {
    /// What is answered for a name that is blocked.
    pub enum BlockedAnswer {
        /// The addresses `0.0.0.0` and `::`, which fail at once.
        Zero = "zero",
        /// There is no such name.
        Nxdomain = "nxdomain",
        /// The resolver does not want to.
        Refused = "refused",
    }
}

section! {
    /// Clients that other lists hold for; the short form names the clients.
    pub struct DnsGroup {
        /// Who belongs to it: zones, hosts, addresses, subnets. The narrowest match counts.
        clients: Many<Spanned<String>>,
        /// The lists that hold for them, in place of those for all.
        block: Option<Many<Spanned<String>>>,
        /// Names that they are answered, beside those for all.
        allow: Many<Spanned<String>>,
        /// Rules that hold for them, beside those for all.
        rules: Many<Spanned<String>>,
        /// Nothing is blocked for them.
        unfiltered: bool,
    }
    required ["clients"]
    short (node, decoder) { Many::from_node(node, decoder).map(|clients| DnsGroup { clients, ..DnsGroup::default() }) }
    schema or_strings
}

section! {
    /// What is remembered of others' answers.
    pub struct DnsCache {
        /// The memory it may take.
        size: Size = Size(16 << 20),
        /// How long an answer that is out of date may stand in while no upstream answers; `0s` is not at all.
        stale: Period = Period(std::time::Duration::from_secs(24 * 3600)),
        /// Whether names in use are asked again shortly before they are out of date.
        prefetch: bool = true,
        /// The shortest time that an answer is remembered, whatever it says.
        at_least: Period,
        /// The longest time that an answer is remembered, whatever it says.
        at_most: Period = Period(std::time::Duration::from_secs(24 * 3600)),
    }
}

section! {
    /// What is written down of queries.
    pub struct DnsLog {
        /// How long queries are kept on the resolver's disk; `0s` writes none down.
        keep: Period = Period(std::time::Duration::from_secs(7 * 24 * 3600)),
        /// Whether clients are told apart; without, each query is from nobody.
        clients: bool = true,
    }
}

section! {
    /// One name of the lab's zone, or of another domain that the lab answers in place of the world.
    ///
    /// The short form is where it leads: addresses, or the name of a host, a service or another record.
    pub struct DnsRecord {
        /// Where it leads: addresses, or the name of a host, a service or another record.
        to: Many<Spanned<String>>,
        /// Another name that it is short for (CNAME).
        cname: Option<Spanned<String>>,
        /// Texts (TXT).
        txt: Many<Spanned<String>>,
        /// Where its mail goes (MX): `10 mail.example.net`.
        mx: Many<Spanned<String>>,
        /// Where a service is (SRV): `0 5 5060 sip.example.net`, as priority, weight, port, name.
        srv: Many<Spanned<String>>,
        /// How long others may remember it.
        ttl: Option<Period>,
    }
    short (node, decoder) { Many::from_node(node, decoder).map(|to| DnsRecord { to, ..DnsRecord::default() }) }
    schema or_strings
}
