//! How many of the accepted peers each host has.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr};

use crate::socket::Address;

/// Who counts as one host. With IPv6 a customer has a /64 at least, and may come from any address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Host {
    /// None for an address that has no name: all of those would be one host.
    pub(crate) fn of(address: Address) -> Option<Host> {
        let Address::Ip(address) = address else {
            return None;
        };
        Some(match address.ip().to_canonical() {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6((address.to_bits() >> 64) as u64),
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: BTreeMap<Host, Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    places: usize,
    /// It was told that there are no more.
    told: bool,
}

impl Hosts {
    pub(crate) fn places(&self, host: Host) -> usize {
        self.hosts.get(&host).map_or(0, |taken| taken.places)
    }

    pub(crate) fn take(&mut self, host: Host) {
        self.hosts.entry(host).or_default().places += 1;
    }

    pub(crate) fn give_back(&mut self, host: Host) {
        if let Some(taken) = self.hosts.get_mut(&host) {
            taken.places -= 1;
            taken.told = false;
            if taken.places == 0 {
                self.hosts.remove(&host);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Is a host that has its places taken to be told of? Once, until one of them is free again.
    pub(crate) fn tells(&mut self, host: Host) -> bool {
        let taken = self.hosts.get_mut(&host);
        taken.is_some_and(|taken| !core::mem::replace(&mut taken.told, true))
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;

    fn host(text: &str) -> Option<Host> {
        Host::of(text.parse::<SocketAddr>().unwrap().into())
    }

    #[test]
    fn a_host_is_an_ipv4_address_or_a_network_of_64_bits() {
        assert_eq!(host("192.0.2.1:1"), host("192.0.2.1:2"));
        assert_eq!(host("192.0.2.1:1"), host("[::ffff:192.0.2.1]:1"), "as a listener for both shows it");
        assert_ne!(host("192.0.2.1:1"), host("192.0.2.2:1"));
        assert_eq!(host("[2001:db8::1]:1"), host("[2001:db8::ffff:0:0:1]:1"));
        assert_ne!(host("[2001:db8::1]:1"), host("[2001:db8:0:1::1]:1"));
        assert_eq!(Host::of(Address::Unnamed), None);
    }

    #[test]
    fn a_host_is_told_of_once_until_it_has_a_place_again() {
        let mut hosts = Hosts::default();
        let one = host("192.0.2.1:1").unwrap();
        (0..3).for_each(|_| hosts.take(one));
        assert!(hosts.tells(one) && !hosts.tells(one));
        hosts.give_back(one);
        hosts.take(one);
        assert!(hosts.tells(one));
        (0..3).for_each(|_| hosts.give_back(one));
        assert_eq!(hosts.places(one), 0);
        assert_eq!(hosts.len(), 0, "it leaves nothing behind");
    }
}
