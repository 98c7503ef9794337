//! What comes after what on one host: parents before children, makers before what they make room for.
//! Decides nothing else about a resource, and invents no order where there is no reason for one.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;
use labwright_model::Spanned;
use labwright_plan::{Resource, ResourceId, Spec, Value};

use super::lower::Ground;
use super::paths::{Mentions, above, names, normal};
use super::session::text;
use super::unit_environment;
use super::user::home_of;

/// Sets what each resource of a host comes after.
pub fn link(ground: &Ground<'_>, resources: &mut [Resource]) {
    let order = Order::new(ground, resources);
    let after: Vec<BTreeSet<ResourceId>> = resources.iter().map(|resource| order.after(resource)).collect();
    for (resource, after) in resources.iter_mut().zip(after) {
        resource.after = after;
    }
}

/// A host's resources, as its order asks for them.
struct Order<'a> {
    ground: &'a Ground<'a>,
    specs: HashMap<&'a ResourceId, &'a Spec>,
    /// Ids by kind and name: every file asks for each folder above it.
    ids: HashMap<(&'a str, &'a str), &'a ResourceId>,
    kinds: BTreeSet<&'a str>,
    mounts: Vec<&'a str>,
    /// Homes by user.
    homes: BTreeMap<&'a str, String>,
    /// Users by the home that is made together with them.
    made_homes: BTreeMap<String, &'a str>,
    /// What apt reads before it installs anything.
    apts: BTreeSet<ResourceId>,
    /// What the lab file says in so many words, by path.
    explicit: HashMap<String, &'a [Spanned<String>]>,
    units: BTreeMap<&'a str, Unit<'a>>,
}

/// A unit, as its own file describes it.
struct Unit<'a> {
    content: &'a str,
    /// What it reads, and whom it runs as.
    needs: BTreeSet<ResourceId>,
    /// Declared units that have to be there before it can start.
    calls: BTreeSet<&'a str>,
}

impl<'a> Order<'a> {
    fn new(ground: &'a Ground<'a>, resources: &'a [Resource]) -> Self {
        let specs: HashMap<&ResourceId, &Spec> = resources.iter().map(|r| (&r.id, &r.spec)).collect();
        let of_kind = |kind: &'static str| resources.iter().filter(move |resource| resource.id.kind() == kind);
        let files = ground.host.files.iter().filter(|(_, file)| !file.after.is_empty());
        let mut order = Order {
            ground,
            specs,
            ids: resources.iter().map(|resource| ((resource.id.kind(), resource.id.name()), &resource.id)).collect(),
            kinds: resources.iter().map(|resource| resource.id.kind()).collect(),
            mounts: of_kind("mount").map(|mount| mount.id.name()).collect(),
            homes: BTreeMap::new(),
            made_homes: BTreeMap::new(),
            apts: BTreeSet::new(),
            explicit: files.map(|(path, file)| (normal(path).into_owned(), file.after.as_slice())).collect(),
            units: BTreeMap::new(),
        };
        for user in of_kind("user") {
            let system = user.spec.get("system") == Some(&Value::Bool(true));
            let Some(home) = home_of(user.id.name(), text(&user.spec, "home"), system) else { continue };
            if user.spec.get("create_home") == Some(&Value::Bool(true)) {
                order.made_homes.insert(home.clone(), user.id.name());
            }
            order.homes.insert(user.id.name(), home);
        }
        order.apts = resources.iter().filter(|r| order.is_apts(r)).map(|resource| resource.id.clone()).collect();
        let declared: BTreeSet<&str> = of_kind("unit").map(|unit| unit.id.name()).collect();
        let unit = |unit: &'a Resource| {
            let (name, content) = (unit.id.name(), text(&unit.spec, "content").unwrap_or_default());
            (
                name,
                Unit {
                    content,
                    needs: order.unit_needs(name, content, resources),
                    calls: calls(name, content, &declared),
                },
            )
        };
        let units = of_kind("unit").map(unit).collect();
        Order { units, ..order }
    }

    fn after(&self, resource: &Resource) -> BTreeSet<ResourceId> {
        let (kind, name) = (resource.id.kind(), resource.id.name());
        let mut after = match kind {
            "package" => self.apts.clone(),
            "user" => self.user(name, &resource.spec),
            "authorized_keys" => self.keys(name),
            "directory" | "file" | "symlink" => self.path(resource),
            "mount" => self.parents(name),
            "unit" => self.unit(name),
            // Last of all: it may take the run's own connection with it.
            "interface" => {
                self.kinds.iter().filter(|kind| **kind != "interface").filter_map(|kind| self.all(kind)).collect()
            }
            "sshd" => self
                .specs
                .keys()
                .filter(|id| matches!(id.kind(), "user" | "authorized_keys"))
                .map(|id| (*id).clone())
                .collect(),
            _ => BTreeSet::new(),
        };
        if !matches!(kind, "package" | "hostname") && !self.apts.contains(&resource.id) {
            after.extend(self.all("package"));
        }
        after.remove(&resource.id);
        after
    }

    /// The id, if there is such a resource.
    fn id(&self, kind: &str, name: &str) -> Option<ResourceId> {
        self.ids.get(&(kind, name)).map(|id| (*id).clone())
    }

    /// All of a kind, if there is any.
    fn all(&self, kind: &str) -> Option<ResourceId> {
        self.kinds.contains(kind).then(|| ResourceId::all(self.ground.name, "host", kind))
    }

    /// Whether apt looks there for its sources and keys: such files come before packages, unless a package may have to
    /// make their owner first.
    fn is_apts(&self, resource: &Resource) -> bool {
        let below = |folder| is_within(resource.id.name(), folder);
        matches!(resource.id.kind(), "directory" | "file" | "symlink")
            && (below("/etc/apt") || below("/usr/share/keyrings"))
            && self.owners(&resource.spec).is_empty()
    }

    /// What makes the user and the group that something belongs to. A user brings a group of its own name.
    fn owners(&self, spec: &Spec) -> Vec<ResourceId> {
        let owner = text(spec, "owner").and_then(|owner| self.id("user", owner));
        let group = text(spec, "group").and_then(|group| self.group(group));
        owner.into_iter().chain(group).collect()
    }

    fn group(&self, name: &str) -> Option<ResourceId> {
        self.id("group", name).or_else(|| self.id("user", name))
    }

    /// The nearest declared directory or mount above a path.
    fn parents(&self, path: &str) -> BTreeSet<ResourceId> {
        let at = |path: &str| {
            let found: BTreeSet<ResourceId> =
                ["directory", "mount"].iter().filter_map(|kind| self.id(kind, path)).collect();
            (!found.is_empty()).then_some(found)
        };
        above(path).find_map(at).unwrap_or_default()
    }

    fn path(&self, resource: &Resource) -> BTreeSet<ResourceId> {
        let path = resource.id.name();
        let mut after = self.parents(path);
        after.extend(self.explicit(path));
        if self.apts.contains(&resource.id) {
            // A folder that is not apt's own comes after the packages, and these come after what apt reads.
            after.retain(|id| !matches!(id.kind(), "directory" | "mount") || self.apts.contains(id));
            return after;
        }
        after.extend(self.owners(&resource.spec));
        // What a mount or a new home brings with it is known only when it is there. Waiting for "all" of a kind is what
        // says so; but nothing may wait for a mount or a home that is to be made inside of it.
        let brought = !self.mounts.is_empty() || !self.made_homes.is_empty();
        for folder in above(path).chain([path]).filter(|_| brought) {
            if let Some(mount) = self.id("mount", folder) {
                let holds_one = self.mounts.iter().any(|other| *other != path && is_within(other, path));
                after.extend(if holds_one { Some(mount) } else { self.all("mount") });
            }
            if let Some(user) = self.made_homes.get(folder).filter(|_| folder != path) {
                let holds_one = self.homes.values().any(|other| is_within(other, path));
                after.extend(if holds_one { self.id("user", user) } else { self.all("user") });
            }
        }
        after
    }

    fn explicit(&self, path: &str) -> Vec<ResourceId> {
        let named = |word: &Spanned<String>| {
            let name = self.ground.text(word)?;
            let path = normal(&name);
            let thing = ["file", "directory", "symlink", "mount"].iter().find_map(|kind| self.id(kind, &path));
            thing.or_else(|| self.id("unit", &name)).or_else(|| self.id("user", &name))
        };
        self.explicit.get(path).into_iter().flat_map(|after| after.iter().filter_map(named)).collect()
    }

    fn user(&self, name: &str, spec: &Spec) -> BTreeSet<ResourceId> {
        let groups = spec.get("groups").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text);
        let groups = groups.chain(text(spec, "group")).chain([name]);
        let mut after: BTreeSet<ResourceId> = groups.filter_map(|group| self.id("group", group)).collect();
        if let Some(home) = self.homes.get(name) {
            // A folder that is to be the user's own can only come after the user.
            let is_theirs = |spec: &&&Spec| ["owner", "group"].iter().any(|field| text(spec, field) == Some(name));
            let parents = self.parents(home).into_iter();
            after.extend(parents.filter(|parent| self.specs.get(parent).filter(is_theirs).is_none()));
        }
        after
    }

    fn keys(&self, user: &str) -> BTreeSet<ResourceId> {
        let undeclared = || if user == "root" { "/root".to_string() } else { format!("/home/{user}") };
        let home = self.homes.get(user).cloned().unwrap_or_else(undeclared);
        let mut after = self.parents(&format!("{home}/.ssh/authorized_keys"));
        after.extend(self.id("user", user));
        after
    }

    /// What a unit needs, and the units it calls for. Those that know one another are made together: they need the same.
    fn unit(&self, name: &str) -> BTreeSet<ResourceId> {
        let Some(unit) = self.units.get(name) else { return BTreeSet::new() };
        let mut after = unit.needs.clone();
        for (other_name, other) in self.units.iter().filter(|(other, _)| **other != name) {
            let (calls, called) = (unit.calls.contains(other_name), other.calls.contains(name));
            if (calls && (called || names(other.content, name))) || (called && names(unit.content, other_name)) {
                after.extend(other.needs.iter().cloned());
            } else if calls {
                after.extend(self.id("unit", other_name));
            }
        }
        after
    }

    fn unit_needs(&self, name: &str, content: &str, resources: &[Resource]) -> BTreeSet<ResourceId> {
        let mentions = Mentions::of(content);
        let restart_on = self.ground.host.units.get(name).map(|unit| unit.restart_on.as_slice()).unwrap_or_default();
        let listed: BTreeSet<String> =
            restart_on.iter().filter_map(|path| Some(normal(&self.ground.text(path)?).into_owned())).collect();
        let own = self.ground.host.units.get(name).map(|unit| unit_environment::paths(name, unit)).unwrap_or_default();
        let listed: BTreeSet<String> = listed.into_iter().chain(own).collect();
        let is_read = |id: &&ResourceId| match id.kind() {
            "file" | "symlink" => listed.contains(id.name()) || mentions.has(id.name()),
            "directory" | "mount" => mentions.has_folder(id.name()),
            _ => false,
        };
        let read = resources.iter().map(|resource| &resource.id).filter(is_read).cloned();
        let users = values(content, &["User"]).filter_map(|user| self.id("user", user));
        let groups = values(content, &["Group", "SupplementaryGroups"]).flat_map(str::split_whitespace);
        read.chain(users).chain(groups.filter_map(|group| self.group(group))).collect()
    }
}

/// The declared units that starting a unit needs: those it asks for, and the service that a timer, path or socket starts.
fn calls<'a>(name: &str, content: &str, declared: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let keys = ["Requires", "BindsTo", "Requisite", "Wants", "Unit", "Service", "Sockets"];
    let named = values(content, &keys).flat_map(str::split_whitespace).filter_map(|word| declared.get(word).copied());
    let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let triggers =
        matches!(kind, "timer" | "path" | "socket") && values(content, &["Unit", "Service"]).next().is_none();
    let service = declared.get(format!("{stem}.service").as_str()).copied().filter(|_| triggers);
    named.chain(service).filter(|other| *other != name).collect()
}

/// The values of some settings of a unit file.
fn values<'t>(content: &'t str, keys: &[&str]) -> impl Iterator<Item = &'t str> {
    content
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| keys.contains(&key.trim()))
        .map(|(_, v)| v.trim())
}

/// Whether a path is a folder or stands somewhere in it.
fn is_within(path: &str, folder: &str) -> bool {
    path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
