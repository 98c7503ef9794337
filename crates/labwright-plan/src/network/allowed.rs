//! What is let through: everything, or ping and some ports. A set, so that ways add up and can be compared.

use std::fmt;

use labwright_model::units::{Protocol, Traffic};
use serde::{Serialize, Serializer};

use super::ranges::Ranges;

/// A set of traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Allowed {
    /// Every protocol and every port; the rest says nothing then.
    pub any: bool,
    /// ICMP echo requests. Errors of what is allowed come through without being asked for.
    pub ping: bool,
    pub tcp: Ranges,
    pub udp: Ranges,
}

/// One thing that somebody may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Try {
    Tcp(u16),
    Udp(u16),
    Ping,
}

impl Allowed {
    pub fn any() -> Allowed {
        Allowed { any: true, ..Allowed::default() }
    }

    pub fn tcp(ports: impl IntoIterator<Item = u16>) -> Allowed {
        let mut allowed = Allowed::default();
        ports.into_iter().for_each(|port| allowed.tcp.add(port.into(), port.into()));
        allowed
    }

    pub fn udp(ports: impl IntoIterator<Item = u16>) -> Allowed {
        let mut allowed = Allowed::default();
        ports.into_iter().for_each(|port| allowed.udp.add(port.into(), port.into()));
        allowed
    }

    /// Both protocols, as names are asked for.
    pub fn both(port: u16) -> Allowed {
        let mut allowed = Allowed::tcp([port]);
        allowed.extend(&Allowed::udp([port]));
        allowed
    }

    pub fn is_empty(&self) -> bool {
        !self.any && !self.ping && self.tcp.is_empty() && self.udp.is_empty()
    }

    pub fn add(&mut self, traffic: &Traffic) {
        match traffic {
            Traffic::Any => self.any = true,
            Traffic::Icmp => self.ping = true,
            Traffic::Ports { first, last, protocol, .. } => {
                if *protocol != Some(Protocol::Udp) {
                    self.tcp.add((*first).into(), (*last).into());
                }
                if *protocol != Some(Protocol::Tcp) {
                    self.udp.add((*first).into(), (*last).into());
                }
            }
        }
    }

    pub fn extend(&mut self, other: &Allowed) {
        self.any |= other.any;
        self.ping |= other.ping;
        self.tcp.extend(&other.tcp);
        self.udp.extend(&other.udp);
    }

    /// What this lets through and `other` does not.
    #[must_use]
    pub fn minus(&self, other: &Allowed) -> Allowed {
        match (self.any, other.any) {
            (_, true) => Allowed::default(),
            (true, false) => self.clone(),
            (false, false) => Allowed {
                any: false,
                ping: self.ping && !other.ping,
                tcp: self.tcp.minus(&other.tcp),
                udp: self.udp.minus(&other.udp),
            },
        }
    }

    pub fn covers(&self, other: &Allowed) -> bool {
        other.minus(self).is_empty()
    }

    pub fn lets(&self, what: Try) -> bool {
        self.any
            || match what {
                Try::Tcp(port) => self.tcp.contains(port.into()),
                Try::Udp(port) => self.udp.contains(port.into()),
                Try::Ping => self.ping,
            }
    }

    /// The ports in words, `tcp` or `udp` behind them; one that both have is said once.
    fn ports(&self) -> Vec<(u128, String)> {
        let both = self.tcp.and(&self.udp);
        let mut parts = Vec::new();
        for (ports, suffix) in [(&both, ""), (&self.tcp.minus(&both), "/tcp"), (&self.udp.minus(&both), "/udp")] {
            for (first, last) in ports.iter() {
                let text = if first == last { format!("{first}{suffix}") } else { format!("{first}-{last}{suffix}") };
                parts.push((first, text));
            }
        }
        parts.sort();
        parts
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.any {
            return f.write_str("any");
        }
        let ping = self.ping.then(|| "icmp".to_string());
        let all: Vec<String> = ping.into_iter().chain(self.ports().into_iter().map(|(_, text)| text)).collect();
        f.write_str(if all.is_empty() { "nothing" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

impl Serialize for Allowed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Try {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Try::Tcp(port) => write!(f, "{port}/tcp"),
            Try::Udp(port) => write!(f, "{port}/udp"),
            Try::Ping => f.write_str("icmp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Allowed {
        let mut allowed = Allowed::default();
        words.iter().for_each(|word| allowed.add(&word.parse().unwrap()));
        allowed
    }

    #[test]
    fn ways_add_up_and_are_told_as_they_would_be_typed() {
        assert_eq!(of(&["https", "http", "8000-8010/tcp", "8011/tcp"]).to_string(), "80/tcp, 443/tcp, 8000-8011/tcp");
        assert_eq!(of(&["dns", "icmp", "ntp"]).to_string(), "icmp, 53, 123/udp");
        assert_eq!(of(&["any", "dns"]).to_string(), "any");
        assert_eq!(Allowed::default().to_string(), "nothing");
        assert!(of(&["any"]).covers(&of(&["dns", "icmp"])) && !of(&["dns"]).covers(&of(&["any"])));
        assert_eq!(of(&["dns", "icmp"]).minus(&of(&["53/tcp"])).to_string(), "icmp, 53/udp");
        assert!(of(&["dns"]).lets(Try::Udp(53)) && !of(&["dns"]).lets(Try::Ping) && of(&["any"]).lets(Try::Ping));
    }
}
