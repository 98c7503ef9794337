//! What a container gets to see of its host: volumes, folders, memory, devices, secrets and configs.
//! Paths are kept as they are written; they are resolved once it is known which file wrote them.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;

use super::values::{Bits, Bytes, Flag, Pairs};
use crate::decode::{Decoder, FromNode, choice, section};
use crate::span::Spanned;
use crate::tree::{Kind, Node};

choice! {
    /// What is mounted.
    pub enum MountType {
        /// A path of the host.
        Bind = "bind",
        /// A volume that Docker keeps.
        Volume = "volume",
        /// Memory.
        Tmpfs = "tmpfs",
        /// The content of an image.
        Image = "image",
        /// A named pipe of Windows.
        Npipe = "npipe",
        /// A volume of a swarm.
        Cluster = "cluster",
    }
}

section! {
    /// Something that is mounted into a container.
    pub struct Mount {
        /// What is mounted.
        kind("type"): MountType = MountType::Volume,
        /// The path of the host, or the name of the volume; an anonymous volume when absent.
        source: Option<Spanned<String>>,
        /// The path in the container.
        target: Spanned<String>,
        /// Whether nothing can be written there.
        read_only: Flag,
        /// For another platform; without effect.
        consistency: Option<String>,
        /// Settings of a path of the host.
        bind: Option<BindOptions>,
        /// Settings of a volume.
        volume: Option<VolumeOptions>,
        /// Settings of memory.
        tmpfs: Option<TmpfsOptions>,
        /// Settings of an image.
        image: Option<ImageOptions>,
    }
    required ["type", "target"]
}

section! {
    /// Settings of a mounted path of the host.
    pub struct BindOptions {
        /// Whether mounts below it are seen on the other side.
        propagation: Option<Spanned<String>>,
        /// Whether a path that is not there is made as a folder.
        create_host_path: Flag = Flag(true),
        /// Whether mounts below it come along.
        recursive: Option<String>,
        /// Its SELinux label: `z` shared, `Z` the container's own.
        selinux: Option<String>,
    }
}

section! {
    /// Settings of a mounted volume.
    pub struct VolumeOptions {
        /// Labels of a volume that is made for this.
        labels: Pairs,
        /// Whether the image's content there is left out.
        nocopy: Flag,
        /// The folder in the volume.
        subpath: Option<Spanned<String>>,
    }
}

section! {
    /// Settings of mounted memory.
    pub struct TmpfsOptions {
        /// How much.
        size: Option<Bytes>,
        /// Its permission bits.
        mode: Option<TmpfsMode>,
    }
}

section! {
    /// Settings of a mounted image.
    pub struct ImageOptions {
        /// The folder in the image.
        subpath: Option<String>,
    }
}

/// Permission bits that are shown as a decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct TmpfsMode(pub u32);

impl FromNode for TmpfsMode {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        Bits::from_node(node, decoder).map(|bits| TmpfsMode(bits.0))
    }
}

/// A list whose entries are told apart by where they end up; a later one replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ByTarget<T>(pub Vec<Spanned<T>>);

impl<T> Default for ByTarget<T> {
    fn default() -> Self {
        ByTarget(Vec::new())
    }
}

impl<T> std::ops::Deref for ByTarget<T> {
    type Target = Vec<Spanned<T>>;
    fn deref(&self) -> &Vec<Spanned<T>> {
        &self.0
    }
}

/// An entry of such a list.
pub trait Targeted: FromNode {
    /// Reads the short form; the error is the way out.
    fn short(text: &str, node: &Node) -> Result<Self, String>;
    fn target(&self) -> String;
}

impl<T: Targeted> FromNode for ByTarget<T> {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        let Kind::List(items) = &node.kind else { return decoder.wrong(node, "a list") };
        let mut entries = IndexMap::new();
        for (number, item) in items.iter().enumerate() {
            let read = match item.text().map(|text| T::short(text, item)) {
                Some(Ok(entry)) => Some(entry),
                Some(Err(help)) => decoder.wrong_help(item, "in the short or the long form", help),
                None => decoder.within(&number.to_string(), |d| T::from_node(item, d)),
            };
            if let Some(entry) = read {
                entries.insert(entry.target(), Spanned::new(entry, item.span));
            }
        }
        Some(ByTarget(entries.into_values().collect()))
    }
}

/// A path without `.`, double and closing slashes.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".into(),
        (false, path) => path,
    }
}

/// Whether what stands before the colon is a path and not the name of a volume.
pub(super) fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
}

impl Targeted for Mount {
    fn short(text: &str, node: &Node) -> Result<Self, String> {
        let forms = "write `volume:/path`, `./folder:/path:ro` or `/path`";
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) || parts.len() > 3 {
            return Err(forms.into());
        }
        if parts.len() > 1 && parts[0].len() == 1 && parts[0].starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err("Compose takes one letter for a drive of Windows: give the volume a longer name".into());
        }
        let at = |text: &str| Spanned::new(text.to_string(), node.span);
        let (source, target) = match parts[..] {
            [target] => (None, target),
            [source, target, ..] => (Some(source), target),
            [] => return Err(forms.into()),
        };
        let mut mount = Mount { source: source.map(at), target: at(&clean(target)), ..Mount::default() };
        match source.is_some_and(is_path) {
            true => {
                mount.kind = MountType::Bind;
                mount.bind = Some(BindOptions::default());
            }
            false => mount.volume = Some(VolumeOptions::default()),
        }
        for option in parts.get(2).into_iter().flat_map(|options| options.split(',')) {
            match option {
                "ro" => mount.read_only = Flag(true),
                "rw" => mount.read_only = Flag(false),
                "nocopy" => mount.volume = Some(VolumeOptions { nocopy: Flag(true), ..VolumeOptions::default() }),
                "z" | "Z" => mount.bind.get_or_insert_default().selinux = Some(option.to_string()),
                "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                    mount.bind.get_or_insert_default().propagation = Some(at(option));
                }
                // For another platform, and without effect here.
                "cached" | "delegated" | "consistent" => {}
                option => {
                    return Err(format!(
                        "`{option}` is no option of a volume: `ro`, `rw`, `z`, `Z`, `nocopy`, `rslave`"
                    ));
                }
            }
        }
        Ok(mount)
    }

    fn target(&self) -> String {
        clean(&self.target.value)
    }
}

section! {
    /// A device of the host in a container.
    pub struct Device {
        /// The path on the host, or the name in a CDI specification.
        source: Spanned<String>,
        /// The path in the container.
        target: Option<Spanned<String>>,
        /// What may be done: `r`, `w`, `m`.
        permissions: Option<String>,
    }
    required ["source"]
}

impl Targeted for Device {
    fn short(text: &str, node: &Node) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, permissions) = match parts[..] {
            [source] => (source, source, "rwm"),
            [source, target] => (source, target, "rwm"),
            [source, target, permissions] => (source, target, permissions),
            _ => {
                return Err(
                    "write `/dev/ttyUSB0:/dev/ttyUSB0`, or `source:` and `target:` where a path has a colon".into()
                );
            }
        };
        if source.is_empty() {
            return Err("name the device: `/dev/ttyUSB0`".into());
        }
        let target = if target.is_empty() { source } else { target };
        let at = |text: &str| Spanned::new(text.to_string(), node.span);
        Ok(Device { source: at(source), target: Some(at(target)), permissions: Some(permissions.to_string()) })
    }

    fn target(&self) -> String {
        self.target.as_ref().unwrap_or(&self.source).value.clone()
    }
}

section! {
    /// A secret or config in a container.
    pub struct FileReference {
        /// Its name under the project's `secrets` or `configs`.
        source: Spanned<String>,
        /// The path in the container; a name alone is below `/run/secrets`.
        target: Option<Spanned<String>>,
        /// The number of the user that it belongs to.
        uid: Option<String>,
        /// The number of the group.
        gid: Option<String>,
        /// Its permission bits.
        mode: Option<Bits>,
    }
    required ["source"]
}

impl Targeted for FileReference {
    fn short(text: &str, node: &Node) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name the secret or config".into());
        }
        Ok(FileReference { source: Spanned::new(text.to_string(), node.span), ..FileReference::default() })
    }

    fn target(&self) -> String {
        self.target
            .as_ref()
            .map_or_else(|| format!("/run/secrets/{}", self.source.value), |target| target.value.clone())
    }
}

section! {
    /// A file with variables for a container.
    pub struct EnvFile {
        /// The file.
        path: Spanned<String>,
        /// Whether it has to be there.
        required: Flag = Flag(true),
        /// `raw`: values are taken as they stand.
        format: Option<Spanned<String>>,
    }
    required ["path"]
}

impl Targeted for EnvFile {
    fn short(text: &str, node: &Node) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name the file, such as `app.env`".into());
        }
        Ok(EnvFile { path: Spanned::new(text.to_string(), node.span), ..EnvFile::default() })
    }

    fn target(&self) -> String {
        self.path.value.clone()
    }
}

/// One file of variables, or several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct EnvFiles(pub ByTarget<EnvFile>);

impl FromNode for EnvFiles {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match node.text() {
            Some(text) => match EnvFile::short(text, node) {
                Ok(file) => Some(EnvFiles(ByTarget(vec![Spanned::new(file, node.span)]))),
                Err(help) => decoder.wrong_help(node, "a file", help),
            },
            None => ByTarget::from_node(node, decoder).map(EnvFiles),
        }
    }
}
