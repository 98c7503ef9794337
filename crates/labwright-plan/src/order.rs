//! Order among resources: what comes first, and what goes round in a circle.
//! Generic over names, so that rules and planner share it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Nodes in an order in which each comes after what it needs; ties are broken by name, so the order is stable.
/// `Err` holds the nodes of one cycle, in order. Edges to nodes that are not there are ignored.
pub fn topological<T: Ord + Clone>(edges: &BTreeMap<T, BTreeSet<T>>) -> Result<Vec<&T>, Vec<T>> {
    let nodes: Vec<&T> = edges.keys().collect();
    let number = |node: &T| nodes.binary_search(&node).ok();
    let needs: Vec<Vec<usize>> = edges.values().map(|needs| needs.iter().filter_map(number).collect()).collect();
    let order = numbered(&needs);
    if order.len() == edges.len() {
        return Ok(order.into_iter().map(|number| nodes[number]).collect());
    }
    let done: BTreeSet<usize> = order.into_iter().collect();
    let stuck = nodes.iter().enumerate().filter(|(number, _)| !done.contains(number)).map(|(_, node)| *node).collect();
    Err(cycle(edges, &stuck))
}

/// As `topological`, for nodes that are numbers from 0 on: `needs[n]` is what `n` needs. What is in a cycle or
/// behind one is left out, so a whole order has as many entries as there are nodes.
pub fn numbered(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (node, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|need| dependents[*need].push(node));
    }
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let free = waiting.iter().enumerate().filter(|(_, count)| **count == 0).map(|(node, _)| Reverse(node));
    let mut ready: BinaryHeap<Reverse<usize>> = free.collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for dependent in &dependents[node] {
            waiting[*dependent] -= 1;
            if waiting[*dependent] == 0 {
                ready.push(Reverse(*dependent));
            }
        }
    }
    order
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
