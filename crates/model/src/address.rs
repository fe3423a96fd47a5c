//! The loopback addresses by which services are called.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use crate::ServiceName;

/// The address of a service inside every namespace of its app: 127.127.x.y (DESIGN.md §2).
/// 127.127.0.0 and 127.127.255.255 are no addresses; 127.127.0.1 is the name server's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAddress(u16);

impl ServiceAddress {
    /// Where names are asked, port 53, in every namespace.
    pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 127, 0, 1);
    const FIRST: u16 = 2;
    const LAST: u16 = 0xfffe;

    /// The address as a service's, when it is one.
    #[must_use]
    pub fn from_ip(ip: Ipv4Addr) -> Option<Self> {
        let [a, b, high, low] = ip.octets();
        let index = u16::from_be_bytes([high, low]);
        (a == 127 && b == 127 && (Self::FIRST..=Self::LAST).contains(&index)).then_some(Self(index))
    }

    /// As an IP address.
    #[must_use]
    pub fn ip(self) -> Ipv4Addr {
        let [high, low] = self.0.to_be_bytes();
        Ipv4Addr::new(127, 127, high, low)
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

/// Which service of an app has which address. An address once given stays with its service for
/// as long as the app is up, so the names that running instances hold stay right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressBook {
    by_service: BTreeMap<ServiceName, ServiceAddress>,
}

/// Two services claim one address, or the range is used up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no address in 127.127.0.0/16 can be given to service {service}: taken or used up")]
pub struct AddressTaken {
    /// The service that got none.
    pub service: ServiceName,
}

impl AddressBook {
    /// The address of a service, given now if it has none yet: the lowest that is free.
    ///
    /// # Errors
    /// [`AddressTaken`] when all 65,533 are given.
    pub fn assign(&mut self, service: &ServiceName) -> Result<ServiceAddress, AddressTaken> {
        if let Some(&address) = self.by_service.get(service) {
            return Ok(address);
        }
        let after_last = self
            .by_service
            .values()
            .max()
            .map_or(ServiceAddress::FIRST, |a| a.0.saturating_add(1));
        let free = |index: &u16| !self.by_service.values().any(|a| a.0 == *index);
        let index = if after_last <= ServiceAddress::LAST {
            Some(after_last)
        } else {
            (ServiceAddress::FIRST..=ServiceAddress::LAST).find(free)
        };
        let address = ServiceAddress(index.ok_or_else(|| AddressTaken {
            service: service.clone(),
        })?);
        self.by_service.insert(service.clone(), address);
        Ok(address)
    }

    /// Takes back an address that was given before, as a record has it.
    ///
    /// # Errors
    /// [`AddressTaken`] when another service has it.
    pub fn restore(
        &mut self,
        service: &ServiceName,
        address: ServiceAddress,
    ) -> Result<(), AddressTaken> {
        if self
            .by_service
            .iter()
            .any(|(other, &a)| a == address && other != service)
        {
            return Err(AddressTaken {
                service: service.clone(),
            });
        }
        self.by_service.insert(service.clone(), address);
        Ok(())
    }

    /// The address of a service, if it has one.
    #[must_use]
    pub fn get(&self, service: &ServiceName) -> Option<ServiceAddress> {
        self.by_service.get(service).copied()
    }

    /// All of them, by service.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceName, ServiceAddress)> {
        self.by_service
            .iter()
            .map(|(service, &address)| (service, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    #[test]
    fn an_address_stays_with_its_service() {
        let mut book = AddressBook::default();
        let first = book.assign(&service("b")).unwrap();
        let second = book.assign(&service("a")).unwrap();
        assert_eq!(first.ip(), Ipv4Addr::new(127, 127, 0, 2));
        assert_ne!(first, second);
        assert_eq!(book.assign(&service("b")), Ok(first));
        assert!(book.restore(&service("c"), first).is_err());
    }

    #[test]
    fn only_the_service_range_is_a_service_address() {
        for (ip, valid) in [
            ([127, 127, 0, 1], false),
            ([127, 127, 0, 0], false),
            ([127, 127, 255, 255], false),
            ([127, 0, 0, 2], false),
            ([127, 127, 0, 2], true),
            ([127, 127, 255, 254], true),
        ] {
            assert_eq!(
                ServiceAddress::from_ip(Ipv4Addr::from(ip)).is_some(),
                valid,
                "{ip:?}"
            );
        }
    }
}
