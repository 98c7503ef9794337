//! What services of a project share: networks, volumes, configs, secrets.
//! Contents of files are not read; a file's path is kept.

use schemars::JsonSchema;
use serde::Serialize;

use super::values::{Flag, List, Pairs};
use crate::decode::{Decoder, FromNode, section};
use crate::span::Spanned;
use crate::tree::{Kind, Node};

section! {
    /// A network of a project.
    pub struct Network {
        /// Its name outside the project; made from project and key when absent.
        name: Option<Spanned<String>>,
        /// The driver.
        driver: Option<Spanned<String>>,
        /// Its settings.
        driver_opts: Pairs,
        /// How addresses are given.
        ipam: Ipam,
        /// Whether somebody else makes it.
        external: External,
        /// Whether it leads nowhere else.
        internal: Flag,
        /// Whether containers of other projects may join it.
        attachable: Flag,
        /// Its labels.
        labels: Pairs,
        /// Whether it has IPv4 addresses.
        enable_ipv4: Option<Flag>,
        /// Whether it has IPv6 addresses.
        enable_ipv6: Option<Flag>,
    }
}

section! {
    /// How addresses of a network are given.
    pub struct Ipam {
        /// The driver.
        driver: Option<String>,
        /// Its subnets.
        config: List<IpamPool>,
        /// Settings of the driver.
        options: Pairs,
    }
}

section! {
    /// A subnet of a network.
    pub struct IpamPool {
        /// The subnet.
        subnet: Option<Spanned<String>>,
        /// The router's address.
        gateway: Option<String>,
        /// The part that addresses are given from.
        ip_range: Option<String>,
        /// Addresses that others have.
        aux_addresses: Pairs,
    }
}

section! {
    /// A volume of a project.
    pub struct Volume {
        /// Its name outside the project; made from project and key when absent.
        name: Option<Spanned<String>>,
        /// The driver.
        driver: Option<Spanned<String>>,
        /// Its settings.
        driver_opts: Pairs,
        /// Whether somebody else makes it.
        external: External,
        /// Its labels.
        labels: Pairs,
    }
}

section! {
    /// A config or a secret of a project.
    pub struct FileObject {
        /// Its name outside the project; made from project and key when absent.
        name: Option<Spanned<String>>,
        /// The file that holds it.
        file: Option<Spanned<String>>,
        /// The variable that holds it.
        environment: Option<Spanned<String>>,
        /// The content itself, of configs alone.
        content: Option<Spanned<String>>,
        /// Whether somebody else makes it.
        external: External,
        /// Its labels.
        labels: Pairs,
        /// Who fills in what it leaves open.
        template_driver: Option<String>,
    }
}

/// Whether somebody else makes it; the form of old names it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct External {
    pub external: bool,
    #[serde(skip)]
    pub named: Option<Spanned<String>>,
}

section! {
    /// The form of old, which names it.
    pub struct ExternalName {
        /// Its name outside the project.
        name: Option<Spanned<String>>,
    }
}

impl FromNode for External {
    fn from_node(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => {
                let ExternalName { name } = ExternalName::from_node(node, decoder)?;
                Some(External { external: true, named: name })
            }
            _ => Flag::from_node(node, decoder).map(|flag| External { external: flag.0, named: None }),
        }
    }
}
