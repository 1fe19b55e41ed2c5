//! Strongly connected components: the sets of states that lead to one another.

/// An edge between two numbered nodes.
pub(crate) type IndexEdge = (usize, usize);

/// Returns the edges that lie on a cycle, grouped by component; each edge is given by its index.
///
/// Kosaraju's algorithm without recursion, because a definition may have many states.
pub(crate) fn cyclic_components(nodes: usize, edges: &[IndexEdge]) -> Vec<Vec<usize>> {
    let order = completion_order(nodes, edges);
    let back = adjacent(nodes, edges.iter().map(|(from, to)| (*to, *from)));
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
    let mut components = vec![Vec::new(); count];
    for (index, (from, to)) in edges.iter().enumerate() {
        if component[*from] == component[*to] {
            components[component[*from]].push(index);
        }
    }
    components.retain(|edges| !edges.is_empty());
    components
}

/// Returns the nodes in the post-order of a depth-first search.
fn completion_order(nodes: usize, edges: &[IndexEdge]) -> Vec<usize> {
    let next = adjacent(nodes, edges.iter().copied());
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

fn adjacent(nodes: usize, edges: impl Iterator<Item = IndexEdge>) -> Vec<Vec<usize>> {
    let mut adjacent = vec![Vec::new(); nodes];
    for (from, to) in edges {
        adjacent[from].push(to);
    }
    adjacent
}
