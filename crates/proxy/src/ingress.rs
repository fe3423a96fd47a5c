//! Which service a `Host` means on the ingress: `SERVICE.APP.localhost`.

use traffic::Snapshot;

use crate::worker::Destination;

/// How many names an answer lists.
const LISTED_MAX: usize = 50;

/// The hosts that answer on the ingress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hosts {
    /// The ingress's port, for the addresses that an answer names.
    pub(crate) port: u16,
}

impl Hosts {
    /// The service that a host means, whatever its case (RFC 4343).
    ///
    /// # Errors
    /// In words, with the hosts that there are.
    pub(crate) fn find(self, snapshot: &Snapshot, host: &str) -> Result<Destination, String> {
        let lower = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let named = |(app, service): (&str, &str)| {
            let (name, app) = snapshot
                .apps
                .iter()
                .find(|(name, _)| name.as_str() == app)?;
            let same = |known: &str| known.eq_ignore_ascii_case(service);
            let (service, found) = app.services.iter().find(|(name, _)| same(name.as_str()))?;
            let (app, service) = (name.clone(), service.clone());
            Some((
                Destination {
                    app,
                    service,
                    port: 0,
                },
                found.spec.http_port(),
            ))
        };
        let label = lower.strip_suffix(".localhost");
        match label
            .and_then(|label| label.rsplit_once('.').map(|(s, a)| (a, s)))
            .and_then(named)
        {
            Some((destination, Some(port))) => Ok(Destination {
                port,
                ..destination
            }),
            Some((destination, None)) => {
                let Destination { app, service, .. } = destination;
                Err(format!(
                    "service {service} of app {app} declares no tcp port that may speak http\n{}",
                    self.list(snapshot)
                ))
            }
            None => Err(format!(
                "no service answers as {host}\n{}",
                self.list(snapshot)
            )),
        }
    }

    fn list(self, snapshot: &Snapshot) -> String {
        let answering = snapshot.apps.iter().flat_map(|(app, services)| {
            let answers = services
                .services
                .iter()
                .filter(|(_, s)| s.spec.http_port().is_some());
            answers.map(move |(service, _)| format!("http://{service}.{app}.localhost"))
        });
        let mut lines: Vec<String> = answering
            .take(LISTED_MAX + 1)
            .map(|url| format!("  {url}:{}/", self.port))
            .collect();
        if lines.is_empty() {
            return "no service is up that could answer here".to_owned();
        }
        if lines.len() > LISTED_MAX {
            lines[LISTED_MAX] = "  and more".to_owned();
        }
        format!("these answer here:\n{}", lines.join("\n"))
    }
}
