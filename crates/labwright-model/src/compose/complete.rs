//! What follows from a project's own text: names, default networks, dependencies, paths, variables of files.
//! Judges nothing; a file that cannot be read is the only finding it makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Project;
use super::environment;
use super::load::{Loader, Origin, joined};
use super::mounts::{EnvFile, MountType, clean};
use super::resources::{External, FileObject};
use super::service::{Dependency, NetworkMode, Service};
use super::values::{Flag, Pairs};
use crate::codes;
use crate::finding::Finding;
use crate::span::{Span, Spanned};

/// Declares the networks, volumes and secrets that inline services name; the secrets are the lab's.
pub fn declare(project: &mut Project) {
    for service in project.services.0.values() {
        for (name, network) in &service.networks.0 {
            project.networks.0.entry(name.clone()).or_insert_with(|| Spanned::new(Default::default(), network.span));
        }
        for mount in service.volumes.iter().filter(|mount| mount.kind == MountType::Volume) {
            if let Some(source) = &mount.source {
                let volume = || Spanned::new(Default::default(), source.span);
                project.volumes.0.entry(source.value.clone()).or_insert_with(volume);
            }
        }
        for secret in service.secrets.iter() {
            let external = External { external: true, named: None };
            let of_lab = || Spanned::new(FileObject { external, ..FileObject::default() }, secret.source.span);
            project.secrets.0.entry(secret.source.value.clone()).or_insert_with(of_lab);
        }
    }
}

/// Fills in what the project says without writing it.
pub fn complete(project: &mut Project, origin: &Arc<Origin>, loader: &mut Loader<'_>) {
    let mut uses_default = false;
    for service in project.services.0.values_mut() {
        let span = service.span;
        let service = &mut service.value;
        if service.network_mode.is_none() && service.networks.0.is_empty() {
            service.networks.0.insert("default".into(), Spanned::new(None, span));
        }
        uses_default |= service.networks.0.contains_key("default");
        dependencies(service);
        smaller_defaults(service);
        paths(service, origin, loader);
        variables(service, origin, loader);
    }
    if uses_default {
        project.networks.0.entry("default".into()).or_default();
    }
    resources(project, origin, loader);
}

/// Services that another one cannot be started without, though `depends_on` does not say so.
fn dependencies(service: &mut Service) {
    let mut named: Vec<(String, Span)> = Vec::new();
    for link in service.links.iter() {
        let name = link.split(':').next().unwrap_or_default();
        named.push((name.to_string(), link.span));
    }
    if let Some(Spanned { value: NetworkMode::Service(name), span }) = &service.network_mode {
        named.push((name.clone(), *span));
    }
    for namespace in [&service.ipc, &service.pid, &service.uts].into_iter().flatten() {
        if let Some(name) = namespace.strip_prefix("service:") {
            named.push((name.to_string(), namespace.span));
        }
    }
    for (name, span) in named {
        let dependency = Dependency { restart: Flag(true), ..Dependency::default() };
        service.depends_on.0.entry(name).or_insert(Spanned::new(dependency, span));
    }
}

fn smaller_defaults(service: &mut Service) {
    for mount in &mut service.volumes.0 {
        mount.value.target.value = clean(&mount.target);
    }
    for secret in &mut service.secrets.0 {
        let target = format!("/run/secrets/{}", secret.source.value);
        secret.value.target.get_or_insert(Spanned::new(target, secret.span));
    }
    if let Some(deploy) = &mut service.deploy {
        if let Some(reservations) = &mut deploy.resources.reservations {
            reservations.complete();
        }
        if service.scale.is_some() {
            deploy.replicas = service.scale.clone();
        }
    }
    if let Some(build) = service.build.as_mut().map(|build| &mut build.value) {
        build.context.get_or_insert(".".to_string().into());
        if build.dockerfile_inline.is_none() {
            build.dockerfile.get_or_insert("Dockerfile".to_string().into());
        }
    }
}

/// What the file that a value stands in is relative to.
fn origin_of(span: Span, origin: &Arc<Origin>, loader: &Loader<'_>) -> Arc<Origin> {
    loader.origins.get(&span.file).unwrap_or(origin).clone()
}

/// A path seen from where the user stands.
fn resolve(path: &mut Spanned<String>, origin: &Arc<Origin>, loader: &mut Loader<'_>) {
    let origin = origin_of(path.span, origin, loader);
    if let Some(rest) = path.value.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        match origin.environment.get("HOME") {
            Some(home) => path.value = format!("{home}{rest}"),
            None => {
                let message = format!("whose home `{}` is in depends on who reads the file", path.value);
                let finding = Finding::warning(codes::COMPOSE_MISLEADING, loader.at.as_str(), path.span, message);
                loader.findings.push(finding.help("write the path out, from `/` on"));
            }
        }
    } else if !path.value.starts_with('/') {
        path.value = joined(&origin.folder, &path.value);
        loader.relative.insert(path.value.clone());
    }
}

fn paths(service: &mut Service, origin: &Arc<Origin>, loader: &mut Loader<'_>) {
    for mount in service.volumes.0.iter_mut().filter(|mount| mount.kind == MountType::Bind) {
        if let Some(source) = &mut mount.value.source {
            resolve(source, origin, loader);
        }
    }
    for file in &mut service.env_file.0.0 {
        resolve(&mut file.value.path, origin, loader);
    }
    for file in &mut service.label_file.0 {
        resolve(file, origin, loader);
    }
    for watch in service.develop.iter_mut().flat_map(|develop| &mut develop.watch.0) {
        resolve(&mut watch.path, origin, loader);
    }
    if let Some(build) = service.build.as_mut().map(|build| &mut build.value) {
        // What has a scheme, or names a service, is no path.
        let is_path = |text: &str| !text.contains("://") && !text.starts_with("service:") && !text.starts_with("git@");
        if let Some(context) = build.context.as_mut().filter(|context| is_path(context)) {
            resolve(context, origin, loader);
        }
        for context in build.additional_contexts.0.values_mut() {
            if let Some(text) = context.value.take_if(|text| is_path(text)) {
                let mut path = Spanned::new(text, context.span);
                resolve(&mut path, origin, loader);
                context.value = Some(path.value);
            }
        }
    }
}

/// Values for variables that are only named, and those of files.
fn variables(service: &mut Service, origin: &Arc<Origin>, loader: &mut Loader<'_>) {
    let fill = |pairs: &mut Pairs, loader: &Loader<'_>| {
        for (name, value) in &mut pairs.0 {
            if value.value.is_none() {
                value.value = origin_of(value.span, origin, loader).environment.get(name).map(str::to_string);
            }
        }
    };
    fill(&mut service.environment, loader);
    if let Some(build) = &mut service.build {
        fill(&mut build.value.args, loader);
        build.value.args.0.retain(|_, value| value.value.is_some());
    }
    let own = |service: &Service| -> BTreeMap<String, String> {
        let set = service.environment.iter().filter_map(|(name, value)| Some((name.clone(), value.value.clone()?)));
        set.collect()
    };
    if !service.env_file.0.is_empty() {
        let own = own(service);
        let known = |name: &str| {
            let environment = &origin.environment;
            environment.get(name).map(str::to_string).or_else(|| own.get(name).cloned())
        };
        let mut all = own.clone();
        let mut from: BTreeMap<String, Span> = BTreeMap::new();
        for file in service.env_file.0.iter() {
            let mut more = all.clone();
            let number = read(file, &known, &mut more, loader);
            for (name, value) in more.iter().filter(|(name, value)| all.get(*name) != Some(*value)) {
                let line = number.and_then(|number| loader.line_of(number, name));
                from.insert(name.clone(), line.unwrap_or(file.span));
                if let Some(line) = line {
                    loader.set.push((name.clone(), Spanned::new(value.clone(), line)));
                }
            }
            all = more;
        }
        for (name, value) in all {
            let span = from.get(&name).copied().unwrap_or(Span::NONE);
            let entry = service.environment.0.entry(name).or_insert_with(|| Spanned::new(None, span));
            if entry.value.is_none() {
                entry.value = Some(value);
            }
        }
    }
    for file in service.label_file.clone().0 {
        let mut labels = BTreeMap::new();
        if let Some((number, text)) = loader.text(&file, file.span) {
            let result = environment::read(&text, &|_| None, &mut labels);
            loader.variables_read(number, result);
        }
        for (name, value) in labels {
            service.labels.0.entry(name).or_insert_with(|| Spanned::new(Some(value), file.span));
        }
    }
}

fn read(
    file: &Spanned<EnvFile>,
    known: &dyn Fn(&str) -> Option<String>,
    into: &mut BTreeMap<String, String>,
    loader: &mut Loader<'_>,
) -> Option<u32> {
    let absent = |loader: &Loader<'_>| loader.files.read(&file.path).is_err_and(|why| why == "no such file");
    if !file.required.0 && absent(loader) {
        return None;
    }
    let (number, text) = loader.text(&file.path, file.path.span)?;
    match file.format.as_ref().map(|format| format.value.as_str()) {
        Some("raw") => environment::read_raw(&text, known, into),
        None => {
            let result = environment::read(&text, known, into);
            loader.variables_read(number, result);
        }
        Some(other) => {
            let span = file.format.as_ref().map_or(file.span, |format| format.span);
            let message = format!("`{other}` is no format of a file of variables");
            let finding = Finding::error(codes::WRONG_VALUE, loader.at.as_str(), span, message);
            loader.findings.push(finding.help("remove `format`, or write `format: raw`"));
        }
    }
    Some(number)
}

fn resources(project: &mut Project, origin: &Arc<Origin>, loader: &mut Loader<'_>) {
    let prefix = project.name.clone();
    let named = |name: &mut Option<Spanned<String>>, external: &External, key: &str, span: Span| {
        if let Some(given) = &external.named {
            name.get_or_insert(given.clone());
        }
        let made = if external.external { key.to_string() } else { format!("{prefix}_{key}") };
        name.get_or_insert(Spanned::new(made, span));
    };
    for (key, network) in &mut project.networks.0 {
        named(&mut network.value.name, &network.value.external, key, network.span);
    }
    for (key, volume) in &mut project.volumes.0 {
        named(&mut volume.value.name, &volume.value.external, key, volume.span);
        let local = volume.driver.as_ref().is_some_and(|driver| driver.value == "local");
        let option = |name: &str| volume.driver_opts.get(name).and_then(|value| value.value.as_deref());
        // Such a volume is a folder of the host.
        if local
            && option("o") == Some("bind")
            && let Some(device) = volume.value.driver_opts.0.get_mut("device")
            && let Some(path) = device.value.take()
        {
            let mut path = Spanned::new(path, device.span);
            resolve(&mut path, origin, loader);
            device.value = Some(path.value);
        }
    }
    let objects = [&mut project.configs, &mut project.secrets];
    for (number, objects) in objects.into_iter().enumerate() {
        for (key, object) in &mut objects.0 {
            named(&mut object.value.name, &object.value.external, key, object.span);
            if let Some(file) = &mut object.value.file {
                resolve(file, origin, loader);
            }
            let is_config = number == 0;
            if let Some(variable) = object.environment.clone().filter(|_| is_config) {
                let environment = origin_of(variable.span, origin, loader).environment.clone();
                let content = environment.get(&variable).map(|text| Spanned::new(text.to_string(), variable.span));
                object.value.content = content;
            }
        }
    }
}
