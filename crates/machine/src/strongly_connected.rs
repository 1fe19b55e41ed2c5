//! Strongly connected components: the sets of states that lead to one another.

/// A way from one number to another.
pub(crate) type IndexEdge = (usize, usize);

/// The ways among `ways` that lie on a circle, by the component that they are in; each is given by its index.
///
/// Kosaraju's algorithm, without recursion: a definition may have many states.
pub(crate) fn cyclic_components(nodes: usize, ways: &[IndexEdge]) -> Vec<Vec<usize>> {
    let order = completion_order(nodes, ways);
    let back = adjacent(nodes, ways.iter().map(|(from, to)| (*to, *from)));
    let mut component = vec![usize::MAX; nodes];
    let mut count = 0;
    for &start in order.iter().rev() {
        if component[start] != usize::MAX {
            continue;
        }
        let mut open = vec![start];
        component[start] = count;
        while let Some(node) = open.pop() {
            for &next in &back[node] {
                if component[next] == usize::MAX {
                    component[next] = count;
                    open.push(next);
                }
            }
        }
        count += 1;
    }
    let mut circles = vec![Vec::new(); count];
    for (index, (from, to)) in ways.iter().enumerate() {
        if component[*from] == component[*to] {
            circles[component[*from]].push(index);
        }
    }
    circles.retain(|circle| !circle.is_empty());
    circles
}

/// The nodes in the order in which a search, depth first, is done with them.
fn completion_order(nodes: usize, ways: &[IndexEdge]) -> Vec<usize> {
    let next = adjacent(nodes, ways.iter().copied());
    let mut seen = vec![false; nodes];
    let mut order = Vec::with_capacity(nodes);
    for start in 0..nodes {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut path = vec![(start, next[start].iter())];
        while let Some((node, rest)) = path.last_mut() {
            match rest.next() {
                Some(&to) if !std::mem::replace(&mut seen[to], true) => path.push((to, next[to].iter())),
                Some(_) => {}
                None => {
                    order.push(*node);
                    path.pop();
                }
            }
        }
    }
    order
}

fn adjacent(nodes: usize, ways: impl Iterator<Item = IndexEdge>) -> Vec<Vec<usize>> {
    let mut adjacent = vec![Vec::new(); nodes];
    for (from, to) in ways {
        adjacent[from].push(to);
    }
    adjacent
}
