//! Sets of numbers as intervals: ports, and the addresses of one family.
//! Kept sorted, disjoint and as few as possible, so that two equal sets look alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of numbers, as intervals with both ends in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    /// The numbers from `first` to `last`.
    pub fn of(first: u128, last: u128) -> Ranges {
        Ranges(vec![(first, last)])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.0.iter().copied()
    }

    pub fn contains(&self, number: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after > 0 && self.0[after - 1].1 >= number
    }

    /// Whether every number of `other` is in this set.
    pub fn covers(&self, other: &Ranges) -> bool {
        other.iter().all(|(first, last)| {
            let after = self.0.partition_point(|(begin, _)| *begin <= first);
            after > 0 && self.0[after - 1].1 >= last
        })
    }

    pub fn add(&mut self, first: u128, last: u128) {
        let begin = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let end = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        if begin >= end {
            self.0.insert(begin, (first, last));
            return;
        }
        let joined = (self.0[begin].0.min(first), self.0[end - 1].1.max(last));
        self.0.splice(begin..end, [joined]);
    }

    pub fn extend(&mut self, other: &Ranges) {
        match self.is_empty() {
            true => self.0.clone_from(&other.0),
            false => other.iter().for_each(|(first, last)| self.add(first, last)),
        }
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Ranges) -> Ranges {
        let mut left = Vec::new();
        for (mut first, last) in self.iter() {
            let from = other.0.partition_point(|(_, end)| *end < first);
            let mut gone = false;
            for (start, end) in other.0[from..].iter().copied().take_while(|(start, _)| *start <= last) {
                if start > first {
                    left.push((first, start - 1));
                }
                if end >= last {
                    gone = true;
                    break;
                }
                first = end + 1;
            }
            if !gone {
                left.push((first, last));
            }
        }
        Ranges(left)
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(&self, other: &Ranges) -> Ranges {
        self.minus(&self.minus(other))
    }
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// As nftables spells it in front of `saddr`.
    pub fn word(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    pub fn digit(self) -> char {
        match self {
            Family::V4 => '4',
            Family::V6 => '6',
        }
    }

    fn bits(self) -> u32 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    pub fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from(number as u32).into(),
            Family::V6 => Ipv6Addr::from(number).into(),
        }
    }

    /// An interval of addresses as it is written: one address, a prefix where it is one, or the two ends.
    pub fn interval(self, first: u128, last: u128) -> String {
        let size = last - first;
        if size == 0 {
            return self.address(first).to_string();
        }
        let width = size.checked_add(1).map_or(128, u128::trailing_zeros);
        let is_prefix = size.checked_add(1).is_none_or(|size| size.is_power_of_two()) && first & size == 0;
        match is_prefix {
            true => format!("{}/{}", self.address(first), self.bits() - width),
            false => format!("{}-{}", self.address(first), self.address(last)),
        }
    }
}

/// An address as a number of its family.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(parts: &[(u128, u128)]) -> Ranges {
        let mut set = Ranges::default();
        parts.iter().for_each(|(first, last)| set.add(*first, *last));
        set
    }

    /// Against the plainest possible set, over every small case of two intervals and a third.
    #[test]
    fn intervals_behave_like_sets() {
        let all: Vec<(u128, u128)> = (0..6).flat_map(|a| (a..6).map(move |b| (a, b))).collect();
        for one in &all {
            for two in &all {
                let both = set(&[*one, *two]);
                let is_in = |n: u128| (one.0..=one.1).contains(&n) || (two.0..=two.1).contains(&n);
                assert!((0..7).all(|n| both.contains(n) == is_in(n)), "{one:?} {two:?}");
                assert!(
                    both.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0),
                    "{both:?} is not as short as it can be"
                );
                for three in &all {
                    let other = set(&[*three]);
                    let (left, shared) = (both.minus(&other), both.and(&other));
                    assert!((0..7).all(|n| left.contains(n) == (both.contains(n) && !other.contains(n))));
                    assert!((0..7).all(|n| shared.contains(n) == (both.contains(n) && other.contains(n))));
                    assert_eq!(both.covers(&other), other.minus(&both).is_empty());
                }
            }
        }
    }

    #[test]
    fn intervals_of_addresses_are_written_as_people_do() {
        let at = |text: &str| number(text.parse().unwrap());
        let v4 = |first: &str, last: &str| Family::V4.interval(at(first), at(last));
        assert_eq!(v4("10.0.0.1", "10.0.0.1"), "10.0.0.1");
        assert_eq!(v4("10.0.0.0", "10.0.0.255"), "10.0.0.0/24");
        assert_eq!(v4("10.0.0.1", "10.0.0.2"), "10.0.0.1-10.0.0.2");
        assert_eq!(v4("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
        assert_eq!(Family::V6.interval(at("fd00::"), at("fd00::ffff:ffff:ffff:ffff")), "fd00::/64");
        assert_eq!(Family::V6.interval(0, u128::MAX), "::/0");
    }
}
