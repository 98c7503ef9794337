//! Symbolic links.
//! Does not ask whether anything is where they lead.

use std::path::Path;

use labwright_plan::{
    Action, Consequence, Field, Kind, Observed, OnChange, Ownership, ProviderError, Resource, Spec, Step, Wanted,
};

use super::content;
use super::directory::{TYPE, data, look};
use super::entry::{Entry, What};
use super::file::remove;
use super::lower::{Ground, sorted};
use super::paths::normal;
use super::replaced::make_way;
use super::session::{Here, Look, Saying, text};

/// The kind `symlink`; named by the path.
pub const KIND: Kind = Kind {
    name: "symlink",
    doc: "A symbolic link.",
    fields: &[
        Field {
            name: "target",
            doc: "What it points to.",
            on_change: OnChange::Update,
            consequence: Consequence::None,
            content: false,
        },
        TYPE,
    ],
    ownership: Ownership::Thing,
    create: Consequence::None,
    delete: Consequence::None,
};

/// One resource for each declared link.
pub fn lower(ground: &Ground<'_>) -> Vec<Resource> {
    let one = |(path, link): (&str, &labwright_model::Spanned<labwright_model::lab::Symlink>)| {
        let mut resource = ground
            .resource("symlink", &normal(path), link.span)
            .with("type", What::Symlink.word())
            .with("target", ground.text(&link.target)?);
        resource.adopt = link.adopt;
        Some(resource)
    };
    sorted(&ground.host.symlinks).into_iter().filter_map(one).collect()
}

/// What is at the path, and where it leads.
pub fn observe(here: &Here, wanted: &Wanted<'_>) -> Look {
    let path = Path::new(wanted.id.name());
    let Some(there) = look(here, path)? else { return Ok(None) };
    let mut spec = Spec::from([("type".to_string(), there.what.word().into())]);
    if there.what == What::Symlink {
        let target = Entry::open(path).and_then(|entry| entry.target());
        let target = target.map_err(|error| here.file_error("read", path, &error))?;
        spec.insert("target".into(), content::value(target));
    }
    Ok(Some(Observed { spec, data: data(here, path, &there) }))
}

/// Makes, turns or removes the link.
pub fn apply(here: &Here, step: &Step, saying: &Saying<'_>) -> Result<(), ProviderError> {
    let path = Path::new(step.id.name());
    if step.action == Action::Delete {
        return remove(here, path, What::Symlink);
    }
    let failed = |error: std::io::Error| here.file_error("make", path, &error);
    let target = text(&step.spec, "target")
        .ok_or_else(|| ProviderError::bug(format!("the step of `{}` names no target", path.display())))?;
    let entry = Entry::open(path).map_err(failed)?;
    let there = make_way(here, step, What::Symlink, &entry, saying)?;
    if there.is_some() && entry.target().map_err(failed)? == target.as_bytes() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        here.touched.note(parent);
    }
    entry.link(target).map_err(failed)
}
