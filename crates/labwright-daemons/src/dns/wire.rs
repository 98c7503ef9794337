//! The part of DNS's wire format that every query goes through: its header, its one question, its EDNS record; and the
//! frame of a reply. It allocates nothing. Records themselves are written and read by hickory.
//!
//! RFC 1035 (4.1), RFC 6891 (EDNS), RFC 8914 (extended errors).

use xxhash_rust::xxh3::xxh3_64;

/// Octets of the header.
pub const HEADER: usize = 12;
/// Octets of the longest name.
pub const MAX_NAME: usize = 255;
/// Labels of the longest name, the root's aside.
const MAX_LABELS: usize = 127;
/// What is answered over UDP at most, whatever a client offers: larger datagrams are cut into fragments, which get lost and
/// can be forged (RFC 9715).
pub const MAX_UDP: usize = 1232;

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const AAAA: u16 = 28;
pub const OPT: u16 = 41;
pub const ANY: u16 = 255;
const IN: u16 = 1;

/// Codes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
}

impl Code {
    pub fn word(code: u8) -> &'static str {
        match code {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            _ => "OTHER",
        }
    }
}

/// What a client says by EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Octets of the longest datagram that it takes.
    pub size: u16,
    pub version: u8,
    /// It wants signatures (DO).
    pub dnssec: bool,
}

/// One question, taken apart. Kept and filled anew for each query, so that none costs an allocation.
pub struct Query {
    pub id: u16,
    /// The second and third octet pair of the header, as they came.
    flags: u16,
    pub kind: u16,
    pub class: u16,
    pub edns: Option<Edns>,
    /// The name in lower case, in wire form with the root's label.
    name: [u8; MAX_NAME],
    name_length: usize,
    /// Where each label begins in `name`, from the left; the root's label is not counted.
    starts: [u8; MAX_LABELS],
    labels: usize,
    /// The hash of the name from each label on.
    hashes: [u64; MAX_LABELS],
    /// The question as the client wrote it: its case is given back (0x20).
    question: [u8; MAX_NAME + 4],
}

/// Why a datagram is no query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing can be said to it: too short, or a reply.
    Silence,
    /// The header can be read, the rest not.
    Answer(Code),
}

impl Default for Query {
    fn default() -> Self {
        Query {
            id: 0,
            flags: 0,
            kind: 0,
            class: 0,
            edns: None,
            name: [0; MAX_NAME],
            name_length: 0,
            starts: [0; MAX_LABELS],
            labels: 0,
            hashes: [0; MAX_LABELS],
            question: [0; MAX_NAME + 4],
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The hash that names are found by, of a name in wire form and lower case.
pub fn hash(name: &[u8]) -> u64 {
    xxh3_64(name)
}

impl Query {
    /// Reads a datagram.
    ///
    /// # Errors
    /// Why it is no query, and what to say to it.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.name_length = 0;
        self.labels = 0;
        self.edns = None;
        self.kind = 0;
        let (Some(id), Some(flags)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else { return Err(Fault::Silence) };
        if bytes.len() < HEADER || flags & 0x8000 != 0 {
            // A reply to a reply is how two resolvers would talk for ever.
            return Err(Fault::Silence);
        }
        (self.id, self.flags) = (id, flags);
        let bad = Fault::Answer(Code::FormErr);
        if (flags >> 11) & 15 != 0 {
            return Err(Fault::Answer(Code::NotImp));
        }
        let count = |at| u16_at(bytes, at).ok_or(bad);
        let (questions, answers, authorities, additionals) = (count(4)?, count(6)?, count(8)?, count(10)?);
        if questions != 1 || answers != 0 || authorities != 0 {
            return Err(bad);
        }
        let end = self.read_question(bytes).ok_or(bad)?;
        if let Err(fault) = self.read_additionals(bytes, end, additionals) {
            self.edns = None;
            return Err(fault);
        }
        Ok(())
    }

    /// The question; `None` if it is not whole.
    fn read_question(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = HEADER;
        let (mut length, mut labels) = (0, 0);
        loop {
            let size = usize::from(*bytes.get(at)?);
            // A question is the first name of a message: there is nothing that it could point to.
            if size > 63 {
                return None;
            }
            let label = bytes.get(at..=at + size)?;
            if length + size + 1 > MAX_NAME {
                return None;
            }
            let lower = self.name.get_mut(length..=length + size)?;
            lower.copy_from_slice(label);
            lower.get_mut(1..)?.make_ascii_lowercase();
            if size > 0 {
                *self.starts.get_mut(labels)? = u8::try_from(length).ok()?;
                labels += 1;
            }
            length += size + 1;
            at += size + 1;
            if size == 0 {
                break;
            }
        }
        self.kind = u16_at(bytes, at)?;
        self.class = u16_at(bytes, at + 2)?;
        self.question.get_mut(..length + 4)?.copy_from_slice(bytes.get(HEADER..at + 4)?);
        (self.name_length, self.labels) = (length, labels);
        for label in 0..labels {
            let start = usize::from(self.starts[label]);
            self.hashes[label] = hash(&self.name[start..length]);
        }
        Some(at + 4)
    }

    /// What stands behind the question: EDNS's record, once, and others (a TSIG, a cookie of old), which are passed over.
    fn read_additionals(&mut self, bytes: &[u8], mut at: usize, count: u16) -> Result<(), Fault> {
        let bad = Fault::Answer(Code::FormErr);
        for _ in 0..count {
            let root = bytes.get(at) == Some(&0);
            at = skip_name(bytes, at).ok_or(bad)?;
            let kind = u16_at(bytes, at).ok_or(bad)?;
            let (size, ttl) = (u16_at(bytes, at + 2).ok_or(bad)?, u32_at(bytes, at + 4).ok_or(bad)?);
            let length = usize::from(u16_at(bytes, at + 8).ok_or(bad)?);
            if kind == OPT {
                if self.edns.is_some() || !root {
                    return Err(bad);
                }
                let version = (ttl >> 16) as u8;
                self.edns = Some(Edns { size, version, dnssec: ttl & 0x8000 != 0 });
            }
            at += 10 + length;
            if at > bytes.len() {
                return Err(bad);
            }
        }
        Ok(())
    }

    /// The name, in wire form and lower case.
    pub fn name(&self) -> &[u8] {
        &self.name[..self.name_length]
    }

    /// How many labels the name has, the root's aside.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// The name without its first `skipped` labels, and its hash.
    pub fn from_label(&self, skipped: usize) -> (&[u8], u64) {
        if skipped >= self.labels {
            return (&[0], hash(&[0]));
        }
        (&self.name[usize::from(self.starts[skipped])..self.name_length], self.hashes[skipped])
    }

    /// The hash of the whole name.
    pub fn hash(&self) -> u64 {
        self.from_label(0).1
    }

    pub fn is_internet(&self) -> bool {
        self.class == IN
    }

    /// Recursion is desired.
    pub fn wants_recursion(&self) -> bool {
        self.flags & 0x0100 != 0
    }

    /// The client checks signatures itself and wants what does not pass as well.
    pub fn checking_disabled(&self) -> bool {
        self.flags & 0x0010 != 0
    }

    /// The client understands the bit that says that signatures were checked (RFC 6840, 5.7).
    pub fn wants_authenticated(&self) -> bool {
        self.flags & 0x0020 != 0 || self.wants_signatures()
    }

    pub fn wants_signatures(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }

    /// Octets of the longest reply over UDP.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(512, |edns| usize::from(edns.size).clamp(512, MAX_UDP))
    }

    fn question(&self) -> &[u8] {
        match self.name_length {
            0 => &[],
            length => &self.question[..length + 4],
        }
    }
}

/// Where a name ends, pointers and all; `None` if it is not whole.
pub fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*bytes.get(at)?) {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return (at + 2 <= bytes.len()).then_some(at + 2),
            size if size <= 63 => at += size + 1,
            _ => return None,
        }
    }
}

/// A name as it is written: `wiki.lab.home.arpa`; odd octets as `\ddd`.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((size, after)) = rest.split_first() {
        let size = usize::from(*size);
        if size == 0 || size > after.len() {
            break;
        }
        if !text.is_empty() {
            text.push('.');
        }
        for byte in &after[..size] {
            match byte {
                b'.' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(*byte));
                }
                0x21..=0x7e => text.push(char::from(*byte)),
                _ => text.push_str(&format!("\\{byte:03}")),
            }
        }
        rest = &after[size..];
    }
    if text.is_empty() { ".".to_string() } else { text }
}

/// A written name in wire form and lower case; `None` if it is none.
pub fn wire(name: &str) -> Option<Vec<u8>> {
    let name = name.trim_end_matches('.');
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|_| !name.is_empty()) {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    bytes.push(0);
    (bytes.len() <= MAX_NAME).then_some(bytes)
}

/// Why a name was not answered as it might have been (RFC 8914).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Why {
    StaleAnswer = 3,
    DnssecBogus = 6,
    Blocked = 15,
    Filtered = 17,
    Prohibited = 18,
    NotSupported = 21,
    NoReachableAuthority = 22,
}

/// What a reply consists of, beside its question.
#[derive(Clone, Copy, Default)]
pub struct Reply<'a> {
    pub code: u8,
    pub authoritative: bool,
    pub authenticated: bool,
    pub answers: u16,
    pub authorities: u16,
    /// Both sections as octets; names in them that point, point to the question.
    pub records: &'a [u8],
    pub why: Option<Why>,
}

/// Writes a reply into `out`, cut to its question where it is longer than `limit` octets.
pub fn write(query: &Query, reply: &Reply<'_>, limit: usize, out: &mut Vec<u8>) {
    out.clear();
    let question = query.question();
    let whole = HEADER + question.len() + reply.records.len() + edns_size(query, reply);
    let cut = whole > limit;
    header(query, reply, cut, u16::from(!question.is_empty()), out);
    out.extend_from_slice(question);
    if !cut {
        out.extend_from_slice(reply.records);
    }
    edns(query, reply, out);
}

fn header(query: &Query, reply: &Reply<'_>, cut: bool, questions: u16, out: &mut Vec<u8>) {
    let mut flags = 0x8080 | (query.flags & 0x7910) | u16::from(reply.code & 15);
    for (is, bit) in [(reply.authoritative, 0x0400), (cut, 0x0200), (reply.authenticated, 0x0020)] {
        if is {
            flags |= bit;
        }
    }
    let (answers, authorities) = if cut { (0, 0) } else { (reply.answers, reply.authorities) };
    out.extend_from_slice(&query.id.to_be_bytes());
    for word in [flags, questions, answers, authorities, u16::from(query.edns.is_some())] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

fn edns_size(query: &Query, reply: &Reply<'_>) -> usize {
    match query.edns {
        None => 0,
        Some(_) => 11 + if reply.why.is_some() { 6 } else { 0 },
    }
}

fn edns(query: &Query, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let Some(client) = query.edns else { return };
    // Version 0 is the only one there is: others are answered BADVERS, whose upper bits stand here.
    let extended: u8 = if client.version > 0 { 1 } else { 0 };
    out.push(0);
    out.extend_from_slice(&OPT.to_be_bytes());
    out.extend_from_slice(&(MAX_UDP as u16).to_be_bytes());
    out.extend_from_slice(&[extended, 0, if client.dnssec { 0x80 } else { 0 }, 0]);
    match reply.why {
        None => out.extend_from_slice(&[0, 0]),
        Some(why) => {
            out.extend_from_slice(&[0, 6, 0, 15, 0, 2]);
            out.extend_from_slice(&(why as u16).to_be_bytes());
        }
    }
}

/// The places of all TTLs in a message, EDNS's record aside; `None` if it is not whole.
pub fn ttls(message: &[u8]) -> Option<Vec<u16>> {
    let count = |at| u16_at(message, at).map(usize::from);
    let mut at = HEADER;
    for _ in 0..count(4)? {
        at = skip_name(message, at)? + 4;
    }
    let mut places = Vec::new();
    for _ in 0..count(6)? + count(8)? + count(10)? {
        at = skip_name(message, at)?;
        if u16_at(message, at)? != OPT {
            places.push(u16::try_from(at + 4).ok()?);
        }
        at += 10 + usize::from(u16_at(message, at + 8)?);
    }
    (at <= message.len()).then_some(places)
}
