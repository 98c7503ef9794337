//! Order among resources: what comes first, and what goes round in a circle.
//! Generic over names, so that rules and planner share it.

use std::collections::{BTreeMap, BTreeSet};

/// Nodes in an order in which each comes after what it needs; ties are broken by name, so the order is stable.
/// `Err` holds the nodes of one cycle, in order. Edges to nodes that are not there are ignored.
pub fn topological<T: Ord + Clone>(edges: &BTreeMap<T, BTreeSet<T>>) -> Result<Vec<&T>, Vec<T>> {
    let mut waiting: BTreeMap<&T, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&T, Vec<&T>> = BTreeMap::new();
    for (node, needs) in edges {
        let known = needs.iter().filter(|need| edges.contains_key(*need));
        let mut count = 0;
        for need in known {
            dependents.entry(need).or_default().push(node);
            count += 1;
        }
        waiting.insert(node, count);
    }
    let mut ready: BTreeSet<&T> = waiting.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut order = Vec::with_capacity(edges.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for dependent in dependents.get(node).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(*dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(dependent);
                }
            }
        }
    }
    if order.len() == edges.len() {
        return Ok(order);
    }
    let stuck: BTreeSet<&T> = waiting.iter().filter(|(_, count)| **count > 0).map(|(node, _)| *node).collect();
    Err(cycle(edges, &stuck))
}

/// One cycle among nodes that cannot be ordered: following needs inside the set must come back.
fn cycle<T: Ord + Clone>(edges: &BTreeMap<T, BTreeSet<T>>, stuck: &BTreeSet<&T>) -> Vec<T> {
    let mut path: Vec<&T> = Vec::new();
    let mut node = stuck.iter().next().copied();
    while let Some(current) = node {
        if let Some(start) = path.iter().position(|seen| *seen == current) {
            return path[start..].iter().map(|node| (*node).clone()).collect();
        }
        path.push(current);
        node = edges[current].iter().find(|need| stuck.contains(need));
    }
    path.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> BTreeMap<char, BTreeSet<char>> {
        text.split_whitespace().map(|word| (word.chars().next().unwrap(), word.chars().skip(1).collect())).collect()
    }

    #[test]
    fn needs_come_first_and_ties_go_by_name() {
        let edges = edges("ab c b d");
        assert_eq!(topological(&edges).unwrap().into_iter().collect::<String>(), "bacd");
        let missing = BTreeMap::from([('a', BTreeSet::from(['z']))]);
        assert_eq!(topological(&missing).unwrap(), [&'a']);
    }

    #[test]
    fn a_cycle_is_named() {
        let edges = edges("ab bc ca da e");
        assert_eq!(topological(&edges).unwrap_err(), ['a', 'b', 'c']);
    }
}
