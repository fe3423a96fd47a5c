//! `extends`: a service over another one, of the same file or of another (compose-spec,
//! "Extends").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use text::{Entry, Finding, Node, Value};

use super::{Assembly, ONE, Scope};
use crate::merge::{merge, settle};
use crate::normalise::What;

/// The longest chain of services that extend each other.
const CHAIN_MAX: usize = 100;

/// A service that is being extended: its file, unless it is the one that is assembled, and name.
type Link = (Option<PathBuf>, String);

/// The services of a document, some of them extended already.
struct Here<'a> {
    entries: &'a mut [Entry],
    positions: BTreeMap<String, usize>,
}

impl Assembly<'_> {
    /// Puts every service of a long document over the one that it extends.
    pub(super) fn extend(&mut self, document: &mut Node, scope: &Scope) {
        let Some(services) = document.get_mut("services") else {
            return;
        };
        let entries = services.value.entries_mut();
        if !entries
            .iter()
            .any(|entry| entry.value.get("extends").is_some())
        {
            return;
        }
        let keys = entries.iter().map(|entry| entry.key.text.clone());
        let mut here = Here {
            positions: keys.zip(0..).collect(),
            entries,
        };
        for index in 0..here.entries.len() {
            self.extend_here(&mut here, index, scope, &mut Vec::new());
        }
    }

    /// Completes a service of the document.
    fn extend_here(
        &mut self,
        here: &mut Here<'_>,
        index: usize,
        scope: &Scope,
        chain: &mut Vec<Link>,
    ) {
        let Some(entry) = here.entries.get_mut(index) else {
            return;
        };
        let Some(extends) = entry.value.take("extends") else {
            return;
        };
        let name = entry.key.text.clone();
        let Some(service) = extends.value.text_at("service").map(str::to_owned) else {
            let is_mapping = matches!(extends.value.value, Value::Mapping(_));
            if is_mapping && extends.value.get("service").is_none() {
                self.lacks("`extends`", "service", extends.value.span);
            }
            return;
        };
        chain.push((None, name));
        let base = match extends.value.text_at("file") {
            Some(file) => self.extend_there(Path::new(file), &service, &extends, scope, chain),
            None => self.base_here(here, &service, &extends, scope, chain),
        };
        chain.pop();
        let Some(entry) = here.entries.get_mut(index) else {
            return;
        };
        match base {
            Some(base) => {
                let over = std::mem::replace(&mut entry.value, Node::null(entry.key.span));
                entry.value = merge(base, over, &ONE, self.findings);
            }
            None => lacks_nothing(&mut entry.value),
        }
    }

    fn base_here(
        &mut self,
        here: &mut Here<'_>,
        service: &str,
        extends: &Entry,
        scope: &Scope,
        chain: &mut Vec<Link>,
    ) -> Option<Node> {
        let link = (None, service.to_owned());
        self.follow(&link, extends, chain)?;
        let Some(&index) = here.positions.get(service) else {
            let known = here.positions.keys().map(String::as_str);
            let known: Vec<String> = known.map(str::to_owned).collect();
            self.no_service(service, "this file", extends, &known);
            return None;
        };
        self.extend_here(here, index, scope, chain);
        let base = here.entries.get(index)?.value.clone();
        self.copied(base, extends)
    }

    /// A service of another file, over the one that it extends.
    fn extend_there(
        &mut self,
        file: &Path,
        service: &str,
        extends: &Entry,
        scope: &Scope,
        chain: &mut Vec<Link>,
    ) -> Option<Node> {
        let link = (Some(file.to_owned()), service.to_owned());
        self.follow(&link, extends, chain)?;
        let services = self.services_of(file, extends, scope)?;
        let Some(node) = services.get(service) else {
            let known: Vec<String> = services.keys().cloned().collect();
            self.no_service(service, &file.display().to_string(), extends, &known);
            return None;
        };
        let there = Scope {
            directory: file.parent().unwrap_or(Path::new("/")).to_owned(),
            ..scope.clone()
        };
        let node = self.copied(node.clone(), extends)?;
        let mut node = self.long(node, &ONE, &there, What::Key(service));
        if let Some(next) = node.take("extends")
            && let Some(service) = next.value.text_at("service")
        {
            let next_file = next.value.text_at("file").map_or(file, Path::new);
            chain.push(link);
            let base = self.extend_there(next_file, service, &next, &there, chain);
            chain.pop();
            match base {
                Some(base) => node = merge(base, node, &ONE, self.findings),
                None => lacks_nothing(&mut node),
            }
        }
        settle(&mut node);
        Some(node)
    }

    /// Reports a chain that comes back to where it was.
    fn follow(&mut self, link: &Link, extends: &Entry, chain: &[Link]) -> Option<()> {
        let is_long = chain.len() >= CHAIN_MAX;
        if !is_long && !chain.contains(link) {
            return Some(());
        }
        let from = chain.iter().position(|known| known == link).unwrap_or(0);
        let links = chain.iter().skip(from).chain([link]).take(12);
        let shown = links.map(|(file, name)| match file {
            Some(file) => format!("{name} ({})", file.display()),
            None => name.clone(),
        });
        let shown = shown.collect::<Vec<_>>().join(" -> ");
        let message = if is_long {
            format!("more than {CHAIN_MAX} services extend each other: {shown} …")
        } else {
            format!("services extend each other in a circle: {shown}")
        };
        let finding = Finding::error(extends.key.span, message)
            .because("this closes the circle")
            .help("remove one of these `extends`");
        self.findings.push(finding);
        None
    }

    fn no_service(&mut self, service: &str, file: &str, extends: &Entry, known: &[String]) {
        let span = extends.value.get("service");
        let span = span.map_or(extends.value.span, |entry| entry.value.span);
        let known = known.iter().map(String::as_str);
        let close = self.findings.did_you_mean(service, known);
        let finding = Finding::error(span, format!("{file} has no service {service:?} to extend"))
            .because("nothing has this name");
        let help = "name a service of that file".to_owned();
        self.findings.push(finding.help(close.unwrap_or(help)));
    }

    /// A copy, counted.
    fn copied(&mut self, mut base: Node, extends: &Entry) -> Option<Node> {
        if !self.afford(base.size(), extends.key.span) {
            return None;
        }
        settle(&mut base);
        Some(base)
    }

    /// The services of another file, interpolated; read once.
    fn services_of(
        &mut self,
        file: &Path,
        extends: &Entry,
        scope: &Scope,
    ) -> Option<Rc<BTreeMap<String, Node>>> {
        let key = (scope.number, file.to_owned());
        if let Some(services) = self.extended.get(&key) {
            return Some(Rc::clone(services));
        }
        let span = extends.value.get("file");
        let span = span.map_or(extends.value.span, |entry| entry.value.span);
        let source = self.open(&file.to_string_lossy(), span, "extended here")?;
        let mut services = BTreeMap::new();
        for mut document in self.parse(source) {
            self.interpolate(&mut document, scope);
            let found = document.take("services").map(|entry| entry.value.value);
            if let Some(Value::Mapping(entries)) = found {
                let entries = entries.into_iter();
                services.extend(entries.map(|entry| (entry.key.text, entry.value)));
            }
        }
        let services = Rc::new(services);
        self.extended.insert(key, Rc::clone(&services));
        Some(services)
    }
}

/// What a service lacks, when the one that it extends is not known, is not known either.
fn lacks_nothing(service: &mut Node) {
    let span = service.span;
    service.or_insert("image", Node::broken(span));
}
