//! Classes: which holders get which seeds, and who reveals which of them.
//!
//! With K holders and threshold t there is a class for each set T of t holders, and its seed goes
//! to every holder *outside* T. So the relay and any t holders together lack one seed of each
//! contributor, that of their own class, which masks everything; and a class is lost only with all
//! of its K − t holders.

use serde::{Deserialize, Serialize};

/// Most holders of a committee.
pub const MAX_HOLDERS: usize = 16;

/// Most classes of a committee: each costs every contributor an expansion.
pub const MAX_CLASSES: usize = 64;

/// A set of holders, by their place in the manifest's schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seats(u16);

impl Seats {
    /// The holders at these places, each below [`MAX_HOLDERS`].
    pub fn of(seats: impl IntoIterator<Item = usize>) -> Self {
        Self(seats.into_iter().fold(0, |set, seat| set | 1 << seat))
    }

    /// Returns whether the holder at place `seat` is in it.
    pub fn contains(self, seat: usize) -> bool {
        self.0 >> seat & 1 == 1
    }

    /// Returns how many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as it enters commitments and boxes: bit h, counted from the least of the first byte,
    /// is holder h.
    pub fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    /// The set with every holder `by` places further on in a circle of `holders`.
    fn rotated(self, by: usize, holders: usize) -> Self {
        let seats = (0..holders).filter(|seat| self.contains(*seat));
        Self::of(seats.map(|seat| (seat + by) % holders))
    }
}

/// A set of classes, by their number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct ClassSet(u64);

impl ClassSet {
    /// These classes, each below [`MAX_CLASSES`].
    pub fn of(classes: impl IntoIterator<Item = usize>) -> Self {
        Self(classes.into_iter().fold(0, |set, class| set | 1 << class))
    }

    /// The numbers of the classes, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_CLASSES).filter(move |class| self.contains(*class))
    }

    /// Returns whether class `class` is in it.
    pub fn contains(self, class: usize) -> bool {
        self.0 >> class & 1 == 1
    }

    /// Returns how many they are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether all of them are in `other`.
    pub fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The classes of K holders with threshold t.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    holders: usize,
    threshold: usize,
    /// T of each class, in lexicographic order of the sorted places.
    excluded: Vec<Seats>,
    /// Who reveals each class as long as it is there.
    primary: Vec<usize>,
}

impl Classes {
    /// The classes of `holders` holders with `threshold`; nothing if they are out of bounds: 1 ≤ t
    /// < K ≤ [`MAX_HOLDERS`] and at most [`MAX_CLASSES`] classes.
    pub fn new(holders: usize, threshold: usize) -> Option<Self> {
        if threshold == 0 || threshold >= holders || holders > MAX_HOLDERS {
            return None;
        }
        if binomial(holders, threshold) > MAX_CLASSES {
            return None;
        }
        let mut excluded = Vec::new();
        subsets(holders, threshold, 0, Seats::default(), &mut excluded);
        let primary = primaries(holders, &excluded);
        Some(Self {
            holders,
            threshold,
            excluded,
            primary,
        })
    }

    /// K.
    pub fn holders(&self) -> usize {
        self.holders
    }

    /// t.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Returns the number of classes, C(K, t).
    pub fn count(&self) -> usize {
        self.excluded.len()
    }

    /// Returns all classes.
    pub fn all(&self) -> ClassSet {
        ClassSet::of(0..self.count())
    }

    /// T: the holders that do not get the seed of class `class`.
    pub fn excluded(&self, class: usize) -> Seats {
        self.excluded.get(class).copied().unwrap_or_default()
    }

    /// The classes whose seeds the holder at `seat` gets.
    pub fn held_by(&self, seat: usize) -> ClassSet {
        let held = |class: &usize| !self.excluded(*class).contains(seat);
        ClassSet::of((0..self.count()).filter(held))
    }

    /// Returns who is to reveal which of the classes `wanted`, if only the holders `present` can:
    /// the primary where it is present, else whoever has least to do. Returns the parts by seat,
    /// and the classes that nobody present holds.
    pub fn assign(&self, wanted: ClassSet, present: Seats) -> (Vec<(usize, ClassSet)>, ClassSet) {
        let mut parts = vec![ClassSet::default(); self.holders];
        let mut lost = ClassSet::default();
        let (kept, moved): (Vec<_>, Vec<_>) = wanted
            .iter()
            .filter(|class| *class < self.count())
            .partition(|class| present.contains(self.primary[*class]));
        for class in kept {
            let part = &mut parts[self.primary[class]];
            *part = part.union(ClassSet::of([class]));
        }
        for class in moved {
            let holds =
                |seat: &usize| present.contains(*seat) && !self.excluded(class).contains(*seat);
            match (0..self.holders)
                .filter(holds)
                .min_by_key(|seat| parts[*seat].len())
            {
                Some(seat) => parts[seat] = parts[seat].union(ClassSet::of([class])),
                None => lost = lost.union(ClassSet::of([class])),
            }
        }
        let parts = parts.into_iter().enumerate();
        (parts.filter(|(_, part)| !part.is_empty()).collect(), lost)
    }
}

fn binomial(n: usize, k: usize) -> usize {
    (0..k).fold(1, |product, i| product * (n - i) / (i + 1))
}

/// All sets of `size` more holders from place `from` on, beside those in `set`.
fn subsets(holders: usize, size: usize, from: usize, set: Seats, found: &mut Vec<Seats>) {
    if size == 0 {
        return found.push(set);
    }
    for seat in from..=holders - size {
        let with = Seats(set.0 | 1 << seat);
        subsets(holders, size - 1, seat + 1, with, found);
    }
}

/// Returns who reveals each class. Classes that are rotations of each other form an orbit; where it
/// has K of them, the holder moves on with the class, so that each holder has one of the orbit: for
/// a prime K, where all orbits are of this kind, everyone has exactly C(K, t)/K. What shorter
/// orbits there are goes to whoever has least.
fn primaries(holders: usize, excluded: &[Seats]) -> Vec<usize> {
    let mut load = vec![0; holders];
    let mut primary = vec![None; excluded.len()];
    for (class, set) in excluded.iter().enumerate() {
        let rotations: Vec<_> = (0..holders)
            .map(|by| set.rotated(holders - by, holders))
            .collect();
        let whole = rotations[1..].iter().all(|rotation| rotation != set);
        // Classes come in lexicographic order, so the least of an orbit is the one that comes
        // first.
        let place = |of: &Seats| excluded.iter().position(|set| set == of);
        let least = (0..holders).min_by_key(|by| place(&rotations[*by]));
        if let (true, Some(by)) = (whole, least) {
            let outside = (0..holders).find(|seat| !rotations[by].contains(*seat));
            let seat = (outside.unwrap_or_default() + by) % holders;
            load[seat] += 1;
            primary[class] = Some(seat);
        }
    }
    let mut least_loaded = |set: &Seats| {
        let outside = (0..holders).filter(|seat| !set.contains(*seat));
        let seat = outside.min_by_key(|seat| load[*seat]).unwrap_or_default();
        load[seat] += 1;
        seat
    };
    let classes = primary.into_iter().zip(excluded);
    classes
        .map(|(seat, set)| seat.unwrap_or_else(|| least_loaded(set)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Classes> {
        (2..=7).flat_map(|k| (1..k).filter_map(move |t| Classes::new(k, t)))
    }

    fn loads(classes: &Classes) -> Vec<usize> {
        let everyone = Seats::of(0..classes.holders());
        let (parts, lost) = classes.assign(classes.all(), everyone);
        assert!(lost.is_empty());
        let load = |seat| {
            let part = parts.iter().find(|(of, _)| *of == seat);
            part.map_or(0, |(_, part)| part.len())
        };
        (0..classes.holders()).map(load).collect()
    }

    #[test]
    fn bounds_are_kept() {
        for (k, t) in [(0, 0), (1, 0), (3, 0), (3, 3), (3, 4), (17, 1), (9, 4)] {
            assert_eq!(Classes::new(k, t), None, "{k}, {t}");
        }
        assert_eq!(Classes::new(7, 4).unwrap().count(), 35);
        assert_eq!(Classes::new(16, 15).unwrap().count(), 16);
    }

    #[test]
    fn every_class_is_a_set_of_t_holders_once_and_in_order() {
        for classes in all() {
            let list = |set: Seats| {
                (0..MAX_HOLDERS)
                    .filter(|seat| set.contains(*seat))
                    .collect::<Vec<_>>()
            };
            let sets: Vec<_> = (0..classes.count())
                .map(|class| list(classes.excluded(class)))
                .collect();
            assert!(sets.is_sorted_by(|a, b| a < b));
            assert!(sets.iter().all(|set| set.len() == classes.threshold()));
            assert_eq!(sets.len(), binomial(classes.holders(), classes.threshold()));
        }
    }

    #[test]
    fn loads_are_equal_for_prime_k_and_close_otherwise() {
        for classes in all() {
            let loads = loads(&classes);
            let (least, most) = (*loads.iter().min().unwrap(), *loads.iter().max().unwrap());
            match classes.holders() {
                2 | 3 | 5 | 7 => assert_eq!(
                    loads,
                    vec![classes.count() / classes.holders(); classes.holders()]
                ),
                _ => assert!(most - least <= 1, "{classes:?}: {loads:?}"),
            }
        }
    }

    #[test]
    fn any_t_holders_lack_a_class_and_any_k_minus_t_minus_1_can_be_lost() {
        for classes in all() {
            let (k, t) = (classes.holders(), classes.threshold());
            for lost in 0..1u16 << k {
                let present = Seats(!lost & ((1 << k) - 1));
                let (parts, uncovered) = classes.assign(classes.all(), present);
                let lost = lost.count_ones() as usize;
                assert_eq!(uncovered.is_empty(), lost < k - t, "{k}, {t}: {present:?}");
                let mut covered = uncovered;
                for (seat, part) in parts {
                    assert!(part.is_subset(classes.held_by(seat)) && present.contains(seat));
                    assert!(part.intersection(covered).is_empty(), "once");
                    covered = covered.union(part);
                }
                assert_eq!(covered, classes.all());
                // What the colluding rest of size t can open is never everything.
                if k - lost == t {
                    let open = (0..k).filter(|seat| present.contains(*seat));
                    let open = open.fold(ClassSet::default(), |set, seat| {
                        set.union(classes.held_by(seat))
                    });
                    assert_eq!(classes.all().without(open).len(), 1);
                }
            }
        }
    }
}
