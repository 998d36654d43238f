//! Circles among the files of a crate.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry};

/// The shortest circles that together have every file that is in one, each from its first file on. `next`: who imports whom.
pub(super) fn circles(next: &BTreeMap<usize, BTreeSet<usize>>) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = Vec::new();
    for &file in next.keys() {
        if !found.iter().any(|circle| circle.contains(&file)) {
            found.extend(shortest(file, next));
        }
    }
    found
}

/// The shortest way from a file back to itself.
fn shortest(start: usize, next: &BTreeMap<usize, BTreeSet<usize>>) -> Option<Vec<usize>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for &target in next.get(&file).into_iter().flatten() {
            if target == start {
                let mut way = vec![file];
                while let Some(&previous) = before.get(way.last()?) {
                    way.push(previous);
                }
                way.reverse();
                return Some(way);
            }
            if let Entry::Vacant(place) = before.entry(target) {
                place.insert(file);
                queue.push_back(target);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(imports: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for &(from, to) in imports {
            next.entry(from).or_default().insert(to);
        }
        circles(&next)
    }

    #[test]
    fn what_ends_somewhere_is_no_circle() {
        assert!(of(&[(0, 1), (1, 2), (0, 2), (3, 2)]).is_empty());
    }

    #[test]
    fn every_file_of_a_circle_is_in_one_that_is_shown_and_the_shortest() {
        assert_eq!(of(&[(0, 1), (1, 2), (2, 0), (1, 0), (3, 0)]), [vec![0, 1], vec![2, 0, 1]]);
        assert_eq!(of(&[(5, 7), (7, 5), (1, 2), (2, 3), (3, 1), (3, 5)]), [vec![1, 2, 3], vec![5, 7]]);
    }
}
