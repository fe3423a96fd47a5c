//! Who has which name and address, and who may call whom: what of an app does not move.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    AddressBook, AddressTaken, AppName, AppSpec, NetworkName, ServiceAddress, ServiceName,
    ServiceSpec,
};

/// The domain under which apps have their names: `SERVICE.APP.internal`.
pub const DOMAIN: &str = "internal";

/// The names and addresses of an app's services, by its Spec.
#[derive(Debug)]
pub struct Directory {
    spec: Arc<AppSpec>,
    addresses: AddressBook,
    by_address: BTreeMap<ServiceAddress, ServiceName>,
    /// By lower-case name, since names of the DNS know no case (RFC 4343).
    by_name: BTreeMap<String, Vec<Named>>,
}

/// Something that has a name: a service anywhere, or on one network only by an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    service: ServiceName,
    only_on: Option<NetworkName>,
}

/// A service that a caller may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callee<'a> {
    /// Its name.
    pub service: &'a ServiceName,
    /// Its address.
    pub address: ServiceAddress,
}

/// Why an address may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No service has it.
    #[error("no service of app {app} has the address {address}")]
    NoSuchService {
        /// The caller's app.
        app: AppName,
        /// What was called.
        address: ServiceAddress,
    },
    /// Caller and callee share no network.
    #[error("{caller} may not call {callee}: they are on no common network")]
    NoCommonNetwork {
        /// Who called.
        caller: ServiceName,
        /// What was called.
        callee: ServiceName,
    },
}

/// One line of an instance's `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// The service's address.
    pub address: ServiceAddress,
    /// Its names, the canonical one first.
    pub names: Vec<String>,
}

impl Directory {
    /// The directory of an app; services without an address in `addresses` get one.
    ///
    /// # Errors
    /// [`AddressTaken`] when there are more services than addresses.
    pub fn new(spec: Arc<AppSpec>, mut addresses: AddressBook) -> Result<Self, AddressTaken> {
        let mut by_address = BTreeMap::new();
        let mut by_name: BTreeMap<String, Vec<Named>> = BTreeMap::new();
        for (name, service) in &spec.services {
            by_address.insert(addresses.assign(name)?, name.clone());
            let own = Named {
                service: name.clone(),
                only_on: None,
            };
            by_name
                .entry(name.as_str().to_ascii_lowercase())
                .or_default()
                .insert(0, own);
            for (network, aliases) in &*service.networks {
                for alias in aliases {
                    let named = Named {
                        service: name.clone(),
                        only_on: Some(network.clone()),
                    };
                    by_name
                        .entry(alias.to_ascii_lowercase())
                        .or_default()
                        .push(named);
                }
            }
        }
        Ok(Self {
            spec,
            addresses,
            by_address,
            by_name,
        })
    }

    /// The app's name.
    #[must_use]
    pub fn app(&self) -> &AppName {
        &self.spec.name
    }

    /// The app's Spec.
    #[must_use]
    pub fn spec(&self) -> &Arc<AppSpec> {
        &self.spec
    }

    /// Which service has which address.
    #[must_use]
    pub fn addresses(&self) -> &AddressBook {
        &self.addresses
    }

    /// The Spec of a service.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<ServiceSpec>> {
        self.spec.services.get(name)
    }

    /// What `name` means to `caller`: `rng`, `rng.APP`, `rng.APP.internal` and aliases, in any
    /// case, with or without a final dot. A name that the caller may not call is none.
    #[must_use]
    pub fn resolve(&self, caller: &ServiceName, name: &str) -> Option<Callee<'_>> {
        let lower = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.named(caller, &lower)
            .or_else(|| self.named(caller, self.without_domain(&lower)?))
    }

    fn without_domain<'n>(&self, lower: &'n str) -> Option<&'n str> {
        let local = lower
            .strip_suffix(DOMAIN)
            .and_then(|n| n.strip_suffix('.'))
            .unwrap_or(lower);
        local.strip_suffix(self.app().as_str())?.strip_suffix('.')
    }

    fn named(&self, caller: &ServiceName, lower: &str) -> Option<Callee<'_>> {
        let on = |network| {
            self.service(caller)
                .is_some_and(|c| c.networks.contains_key(network))
        };
        self.by_name.get(lower)?.iter().find_map(|named| {
            let visible = match &named.only_on {
                None => self.spec.may_call(caller, &named.service),
                Some(network) => on(network),
            };
            let address = self.addresses.get(&named.service)?;
            visible.then_some(Callee {
                service: &named.service,
                address,
            })
        })
    }

    /// The service at an address, when `caller` may call it.
    ///
    /// # Errors
    /// [`Denied`] says why not.
    pub fn callee(
        &self,
        caller: &ServiceName,
        address: ServiceAddress,
    ) -> Result<&ServiceName, Denied> {
        let callee = self
            .by_address
            .get(&address)
            .ok_or_else(|| Denied::NoSuchService {
                app: self.app().clone(),
                address,
            })?;
        if self.spec.may_call(caller, callee) {
            return Ok(callee);
        }
        Err(Denied::NoCommonNetwork {
            caller: caller.clone(),
            callee: callee.clone(),
        })
    }

    /// The canonical name of the service at an address, if `caller` may call it.
    #[must_use]
    pub fn canonical(&self, caller: &ServiceName, address: ServiceAddress) -> Option<String> {
        let callee = self.callee(caller, address).ok()?;
        Some(format!("{callee}.{}.{DOMAIN}", self.app()))
    }

    /// The lines of `/etc/hosts` for an instance of `caller`, by service name.
    #[must_use]
    pub fn hosts(&self, caller: &ServiceName) -> Vec<HostEntry> {
        let entry = |(service, names): (ServiceName, std::collections::BTreeSet<String>)| {
            let app = self.app();
            let address = self.addresses.get(&service)?;
            let own = service.as_str().to_owned();
            let long = [format!("{own}.{app}"), format!("{own}.{app}.{DOMAIN}")];
            let aliases = names.into_iter().filter(|name| *name != own);
            let names = std::iter::once(own.clone())
                .chain(long)
                .chain(aliases)
                .collect();
            Some(HostEntry { address, names })
        };
        self.spec
            .names_for(caller)
            .into_iter()
            .filter_map(entry)
            .collect()
    }

    /// The UDP ports that an instance of `caller` may call, each with its service's address.
    #[must_use]
    pub fn udp_callees(&self, caller: &ServiceName) -> Vec<(ServiceAddress, u16)> {
        let callable = self
            .spec
            .services
            .iter()
            .filter(|(n, _)| self.spec.may_call(caller, n));
        callable
            .filter_map(|(name, spec)| Some((self.addresses.get(name)?, spec)))
            .flat_map(|(address, spec)| spec.udp_ports().map(move |port| (address, port)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::{Image, NetworkSpec};

    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    fn network(text: &str) -> NetworkName {
        NetworkName::new(text).unwrap()
    }

    /// `a` on x; `b` on x (alias "bee") and y; `C` on y.
    fn directory() -> Directory {
        let service = |service: &str, networks: &[(&str, &[&str])]| {
            let mut spec = ServiceSpec::new(name(service), Image::Host);
            for (on, aliases) in networks {
                let aliases: BTreeSet<_> = aliases.iter().map(|&a| a.to_owned()).collect();
                Arc::make_mut(&mut spec.networks).insert(network(on), aliases);
            }
            (name(service), Arc::new(spec))
        };
        let spec = AppSpec {
            name: AppName::new("app").unwrap(),
            services: BTreeMap::from([
                service("a", &[("x", &[])]),
                service("b", &[("x", &["bee"]), ("y", &[])]),
                service("C", &[("y", &[])]),
            ]),
            networks: ["x", "y"]
                .map(|n| (network(n), NetworkSpec::default()))
                .into(),
            volumes: BTreeMap::new(),
        };
        Directory::new(Arc::new(spec), AddressBook::default()).unwrap()
    }

    #[test]
    fn every_spelling_of_a_name_is_the_same_service() {
        let directory = directory();
        for spelling in [
            "b",
            "B",
            "b.app",
            "b.app.internal",
            "b.app.internal.",
            "bee",
            "bee.app",
        ] {
            let callee = directory
                .resolve(&name("a"), spelling)
                .map(|c| c.service.as_str());
            assert_eq!(callee, Some("b"), "{spelling}");
        }
        for spelling in [
            "",
            ".",
            "b.other",
            "b.internal",
            "b.app.example",
            "app.internal",
        ] {
            assert_eq!(directory.resolve(&name("a"), spelling), None, "{spelling}");
        }
    }

    #[test]
    fn a_service_on_no_common_network_has_no_name_and_its_address_is_denied() {
        let directory = directory();
        assert_eq!(directory.resolve(&name("a"), "c"), None);
        let address = directory.addresses().get(&name("C")).unwrap();
        let denied = directory.callee(&name("a"), address).unwrap_err();
        assert!(matches!(denied, Denied::NoCommonNetwork { .. }), "{denied}");
        assert!(
            !directory
                .hosts(&name("a"))
                .iter()
                .any(|entry| entry.address == address)
        );
        assert!(directory.resolve(&name("b"), "c").is_some());
    }

    #[test]
    fn an_alias_is_known_only_on_its_network() {
        let directory = directory();
        assert!(directory.resolve(&name("a"), "bee").is_some());
        assert!(directory.resolve(&name("C"), "bee").is_none());
        assert!(directory.resolve(&name("C"), "b").is_some());
    }
}
