//! Values for tests.

use api::{AppStatus, ServiceStatus, Stage};

pub(crate) fn service(name: &str, state: &str, stage: Stage, ready: u32) -> ServiceStatus {
    ServiceStatus {
        name: name.to_owned(),
        state: state.to_owned(),
        stage,
        reasons: Vec::new(),
        revision: 1,
        wanted: 1,
        ready,
        instances: Vec::new(),
        calls: 0,
        in_flight: 0,
        held: 0,
        last_demand_ms: None,
        url: None,
        owner: None,
        address: None,
        networks: Vec::new(),
    }
}

pub(crate) fn app(services: Vec<ServiceStatus>) -> AppStatus {
    AppStatus {
        app: "coins".to_owned(),
        services,
        listening: Vec::new(),
    }
}
