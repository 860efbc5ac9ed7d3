//! What the search index and the property collector answer, as the door's own types.

use super::soap::Soap;
use crate::xml;
use ports::Result;
use ports::clouds::{Answer, Disk, Machine, PowerState};
use roxmltree::Node;
use std::collections::{BTreeMap, BTreeSet};

/// What is asked of each machine.
const PROPERTIES: [&str; 6] = ["name", "runtime.powerState", "guest.ipAddress", "guest.hostName", "guest.net", "config.hardware.device"];

/// The ids in the answer of a search.
pub fn ids(answer: &Answer, subject: &str) -> Result<Vec<String>> {
    let document = xml::parse(xml::text(&answer.body, subject)?, subject)?;
    let body = xml::at(document.root_element(), &["Body"]).and_then(|b| b.first_element_child());
    let found = body.ok_or_else(|| xml::strange(subject, "is no result of a search"))?;
    Ok(xml::children(found, "returnval").filter_map(|r| r.text().map(str::to_owned)).collect())
}

/// The arguments of `RetrievePropertiesEx`.
pub fn wanted(ids: &[String], soap: &Soap) -> Result<String> {
    let paths = PROPERTIES.map(|p| format!("<pathSet>{p}</pathSet>")).concat();
    let mut objects = String::new();
    for id in ids {
        objects.push_str(&format!("<objectSet><obj type=\"VirtualMachine\">{}</obj></objectSet>", soap.escape(id)?));
    }
    Ok(format!("<specSet><propSet><type>VirtualMachine</type>{paths}</propSet>{objects}</specSet><options/>"))
}

/// Reads `RetrievePropertiesEx`.
pub fn read(answer: &Answer, subject: &str) -> Result<Vec<Machine>> {
    let document = xml::parse(xml::text(&answer.body, subject)?, subject)?;
    let result = xml::at(document.root_element(), &["Body", "RetrievePropertiesExResponse", "returnval"]);
    let result = result.ok_or_else(|| xml::strange(subject, "is no list of machines"))?;
    Ok(xml::children(result, "objects").filter_map(machine).collect())
}

fn machine(of: Node<'_, '_>) -> Option<Machine> {
    let properties: BTreeMap<String, Node<'_, '_>> =
        xml::children(of, "propSet").filter_map(|p| Some((xml::word(p, &["name"])?, xml::at(p, &["val"])?))).collect();
    let word = |name: &str| properties.get(name).and_then(|v| xml::word(*v, &[]));
    let state = match word("runtime.powerState").as_deref() {
        Some("poweredOn") => PowerState::Running,
        Some("poweredOff") => PowerState::Stopped,
        Some("suspended") => PowerState::Suspended,
        _ => PowerState::Unknown,
    };
    let mut addresses: BTreeSet<String> = ["guest.ipAddress", "guest.hostName"].into_iter().filter_map(word).collect();
    if let Some(cards) = properties.get("guest.net") {
        addresses.extend(xml::children(*cards, "GuestNicInfo").flat_map(|c| xml::children(c, "ipAddress")).filter_map(|a| xml::word(a, &[])));
    }
    let disks = properties.get("config.hardware.device").map(|d| xml::children(*d, "VirtualDevice").filter_map(disk).collect());
    Some(Machine {
        id: xml::word(of, &["obj"])?,
        name: word("name"),
        state,
        addresses: addresses.into_iter().collect(),
        zone: None,
        disks: disks.unwrap_or_default(),
    })
}

/// Of all virtual devices only disks have a capacity; old ones tell it in KiB alone.
fn disk(of: Node<'_, '_>) -> Option<Disk> {
    let number = |name: &str| xml::word(of, &[name])?.parse::<u64>().ok();
    let bytes = number("capacityInBytes").or_else(|| number("capacityInKB")?.checked_mul(1024))?;
    let id = xml::word(of, &["deviceInfo", "label"]).or_else(|| xml::word(of, &["key"]))?;
    Some(Disk { id, bytes })
}
