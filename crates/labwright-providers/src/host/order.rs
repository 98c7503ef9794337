//! What comes after what on one host: parents before children, makers before what they make room for.
//! Decides nothing else about a resource, and invents no order where there is no reason for one.

use std::collections::{BTreeMap, BTreeSet};

use labwright_model::Spanned;
use labwright_plan::{Resource, ResourceId, Spec, Value};

use super::lower::Ground;
use super::paths::{above, mentions, mentions_folder, normal};
use super::session::text;
use super::user::home_of;

/// Sets what each resource of a host comes after.
pub fn link(ground: &Ground<'_>, resources: &mut [Resource]) {
    let order = Order::new(ground, resources);
    let after: Vec<BTreeSet<ResourceId>> = resources.iter().map(|resource| order.after(resource)).collect();
    for (resource, after) in resources.iter_mut().zip(after) {
        resource.after = after;
    }
}

struct Order<'a> {
    ground: &'a Ground<'a>,
    ids: BTreeSet<ResourceId>,
    units: BTreeMap<String, String>,
    /// Homes that are made together with their users, by user.
    made_homes: BTreeMap<String, String>,
    homes: BTreeMap<String, String>,
    /// Users and groups that something in apt's own folders belongs to: such files cannot come before packages.
    resources: BTreeMap<ResourceId, Spec>,
}

impl<'a> Order<'a> {
    fn new(ground: &'a Ground<'a>, resources: &[Resource]) -> Self {
        let of_kind = |kind: &'static str| resources.iter().filter(move |resource| resource.id.kind() == kind);
        let home = |user: &Resource| {
            let system = user.spec.get("system") == Some(&Value::Bool(true));
            home_of(user.id.name(), text(&user.spec, "home"), system).map(|home| (user.id.name().to_string(), home))
        };
        let makes = |user: &&Resource| user.spec.get("create_home") == Some(&Value::Bool(true));
        let unit =
            |unit: &Resource| (unit.id.name().to_string(), text(&unit.spec, "content").unwrap_or_default().to_string());
        Order {
            ground,
            ids: resources.iter().map(|resource| resource.id.clone()).collect(),
            units: of_kind("unit").map(unit).collect(),
            made_homes: of_kind("user").filter(makes).filter_map(home).collect(),
            homes: of_kind("user").filter_map(home).collect(),
            resources: resources.iter().map(|resource| (resource.id.clone(), resource.spec.clone())).collect(),
        }
    }

    fn after(&self, resource: &Resource) -> BTreeSet<ResourceId> {
        let (kind, name) = (resource.id.kind(), resource.id.name());
        let mut after = match kind {
            "package" => self.paths().filter(|id| self.is_apts(id)).cloned().collect(),
            "user" => self.user(name, &resource.spec),
            "authorized_keys" => self.keys(name),
            "directory" | "file" | "symlink" => self.path(resource),
            "mount" => self.parents(name).collect(),
            "unit" => self.unit_family(name),
            "sshd" => self.of_kinds(&["user", "authorized_keys"]).collect(),
            _ => BTreeSet::new(),
        };
        if !matches!(kind, "package" | "hostname") && !self.is_apts(&resource.id) {
            after.extend(self.all("package"));
        }
        after.remove(&resource.id);
        after
    }

    /// The id, if there is such a resource.
    fn id(&self, kind: &str, name: &str) -> Option<ResourceId> {
        let id = self.ground.id(kind, name);
        self.ids.contains(&id).then_some(id)
    }

    fn of_kinds(&self, kinds: &'static [&'static str]) -> impl Iterator<Item = ResourceId> {
        self.ids.iter().filter(|id| kinds.contains(&id.kind())).cloned()
    }

    fn paths(&self) -> impl Iterator<Item = &ResourceId> {
        self.ids.iter().filter(|id| matches!(id.kind(), "directory" | "file" | "symlink"))
    }

    /// All of a kind, if there is any.
    fn all(&self, kind: &str) -> Option<ResourceId> {
        self.ids.iter().any(|id| id.kind() == kind).then(|| ResourceId::all(self.ground.name, "host", kind))
    }

    /// Where apt looks for its sources and keys: these come before packages, not after them.
    fn is_apts(&self, id: &ResourceId) -> bool {
        let below = |folder: &str| id.name() == folder || id.name().starts_with(&format!("{folder}/"));
        let belongs = |spec: &Spec| ["owner", "group"].iter().any(|field| self.owner_ids(spec, field).next().is_some());
        matches!(id.kind(), "directory" | "file" | "symlink")
            && (below("/etc/apt") || below("/usr/share/keyrings"))
            && !self.resources.get(id).is_some_and(belongs)
    }

    /// What makes the user or the group that something belongs to. A user brings a group of its own name.
    fn owner_ids(&self, spec: &Spec, field: &str) -> impl Iterator<Item = ResourceId> {
        let name = text(spec, field).map(str::to_string);
        let find = move |name: String| match field {
            "owner" => self.id("user", &name),
            _ => self.id("group", &name).or_else(|| self.id("user", &name)),
        };
        name.into_iter().filter_map(find).collect::<Vec<_>>().into_iter()
    }

    /// The nearest declared directory or mount above a path.
    fn parents(&self, path: &str) -> impl Iterator<Item = ResourceId> {
        let at = |path: &str| {
            let found: Vec<ResourceId> = ["directory", "mount"].iter().filter_map(|kind| self.id(kind, path)).collect();
            (!found.is_empty()).then_some(found)
        };
        above(path).find_map(at).unwrap_or_default().into_iter()
    }

    fn path(&self, resource: &Resource) -> BTreeSet<ResourceId> {
        let path = resource.id.name();
        if self.is_apts(&resource.id) {
            let own = self.parents(path).filter(|parent| self.is_apts(parent));
            return own.chain(self.explicit(path)).collect();
        }
        let mut after: BTreeSet<ResourceId> = self.parents(path).collect();
        after.extend(self.owner_ids(&resource.spec, "owner").chain(self.owner_ids(&resource.spec, "group")));
        after.extend(self.explicit(path));
        // What a mount or a new home brings with it is known only when it is there. Waiting for "all" of a kind is what
        // says so; but nothing may wait for a mount or a home that is to be made inside of it.
        for mount in self.ids.iter().filter(|id| id.kind() == "mount") {
            if is_within(path, mount.name()) {
                let holds_one =
                    self.of_kinds(&["mount"]).any(|other| is_within(other.name(), path) && other.name() != path);
                after.extend(if holds_one { Some(mount.clone()) } else { self.all("mount") });
            }
        }
        for (user, home) in &self.made_homes {
            if is_within(path, home) && path != home {
                let holds_one = self.homes.values().any(|other| is_within(other, path));
                after.extend(if holds_one { self.id("user", user) } else { self.all("user") });
            }
        }
        after
    }

    /// What the lab file says in so many words.
    fn explicit(&self, path: &str) -> Vec<ResourceId> {
        let files = &self.ground.host.files;
        let file = files.iter().find(|(declared, _)| normal(declared) == path);
        let named = |word: &Spanned<String>| {
            let name = self.ground.text(word)?;
            let path = normal(&name);
            let kinds = ["file", "directory", "symlink", "mount"];
            let thing = kinds.iter().find_map(|kind| self.id(kind, &path));
            thing.or_else(|| self.id("unit", &name)).or_else(|| self.id("user", &name))
        };
        file.into_iter().flat_map(|(_, file)| file.after.iter().filter_map(named)).collect()
    }

    fn user(&self, name: &str, spec: &Spec) -> BTreeSet<ResourceId> {
        let groups = spec.get("groups").and_then(Value::list).unwrap_or_default().iter().filter_map(Value::text);
        let groups = groups.chain(text(spec, "group")).chain([name]);
        let mut after: BTreeSet<ResourceId> = groups.filter_map(|group| self.id("group", group)).collect();
        if let Some(home) = self.homes.get(name) {
            // A folder that is to be the user's own can only come after the user.
            let is_theirs = |id: &ResourceId| {
                self.resources
                    .get(id)
                    .is_some_and(|spec| ["owner", "group"].iter().any(|f| text(spec, f) == Some(name)))
            };
            after.extend(self.parents(home).filter(|parent| !is_theirs(parent)));
        }
        after
    }

    fn keys(&self, user: &str) -> BTreeSet<ResourceId> {
        let undeclared = || if user == "root" { "/root".to_string() } else { format!("/home/{user}") };
        let home = self.homes.get(user).cloned().unwrap_or_else(undeclared);
        let file = format!("{home}/.ssh/authorized_keys");
        self.id("user", user).into_iter().chain(self.parents(&file)).collect()
    }

    /// What a unit needs, and the units it calls for. Those that call for one another are made together: they need the same.
    fn unit_family(&self, name: &str) -> BTreeSet<ResourceId> {
        let mut after = self.unit(name);
        for (other, content) in self.units.iter().filter(|(other, _)| *other != name) {
            let (calls, called) = (self.calls_for(name, other), self.calls_for(other, name));
            let knows = |text: &str, unit: &str| mentions(text, unit);
            let mutual = (calls && (called || knows(content, name))) || (called && knows(&self.units[name], other));
            match () {
                () if mutual => after.extend(self.unit(other)),
                () if calls => after.extend(self.id("unit", other)),
                () => {}
            }
        }
        after
    }

    /// Whether starting `unit` needs `other` to be there.
    fn calls_for(&self, unit: &str, other: &str) -> bool {
        let content = self.units.get(unit).map(String::as_str).unwrap_or_default();
        let keys = ["Requires", "BindsTo", "Requisite", "Wants", "Unit", "Service", "Sockets"];
        let named = values(content, &keys).any(|value| value.split_whitespace().any(|word| word == other));
        let (stem, kind) = unit.rsplit_once('.').unwrap_or((unit, ""));
        let triggers =
            matches!(kind, "timer" | "path" | "socket") && values(content, &["Unit", "Service"]).next().is_none();
        named || (triggers && other.strip_suffix(".service") == Some(stem))
    }

    fn unit(&self, name: &str) -> BTreeSet<ResourceId> {
        let content = self.units.get(name).map(String::as_str).unwrap_or_default();
        let unit = self.ground.host.units.get(name);
        let listed: Vec<String> = unit
            .into_iter()
            .flat_map(|unit| unit.restart_on.iter())
            .filter_map(|path| Some(normal(&self.ground.text(path)?)))
            .collect();
        let is_read = |id: &&ResourceId| match id.kind() {
            "file" | "symlink" => listed.iter().any(|path| path == id.name()) || mentions(content, id.name()),
            "directory" | "mount" => mentions_folder(content, id.name()),
            _ => false,
        };
        let users = values(content, &["User"]).filter_map(|user| self.id("user", user));
        let groups = values(content, &["Group", "SupplementaryGroups"]).flat_map(str::split_whitespace);
        let groups = groups.filter_map(|group| self.id("group", group).or_else(|| self.id("user", group)));
        self.ids.iter().filter(is_read).cloned().chain(users).chain(groups).collect()
    }
}

/// The values of some settings of a unit file.
fn values<'t>(content: &'t str, keys: &[&str]) -> impl Iterator<Item = &'t str> {
    let value = |line: &'t str| {
        let (key, value) = line.split_once('=')?;
        keys.contains(&key.trim()).then(|| value.trim())
    };
    content.lines().filter_map(value).collect::<Vec<_>>().into_iter()
}

/// Whether a path is a folder or stands somewhere in it.
fn is_within(path: &str, folder: &str) -> bool {
    path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
