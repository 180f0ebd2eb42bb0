//! Visits every state of a scene, breadth first, and asks of each whether the goal can still be reached.
//!
//! Owns the search. States are kept as 128-bit fingerprints: with 10^8 of them the chance that any two share one is
//! below 10^-22.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hash as _, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bridge::Core;
use crate::rules::{self, Breach};
use crate::scenes::Scene;
use crate::state::State;
use crate::story;
use crate::world::{self, Action};

/// More states than any scene has: beyond this a scene is too large to be explored.
pub const MOST: usize = 200_000_000;

/// What an exploration found.
#[derive(Debug)]
pub struct Found {
    /// States.
    pub states: usize,
    /// Transitions.
    pub transitions: usize,
    /// The longest shortest way to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The first breach, and the shortest way to it.
    pub breach: Option<(Breach, String)>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { states, transitions, depth, took, .. } = self;
        write!(f, "{states:>10} states {transitions:>11} transitions, depth {depth:>3}, {:>6.1} s", took.as_secs_f64())
    }
}

/// A quick hash of small values: eight bytes at a time, into two independent halves.
#[derive(Clone, Copy, Default)]
pub struct Mixer {
    halves: (u64, u64),
    word: u64,
    bytes: u8,
}

/// Maps that use it.
pub type Hashing = BuildHasherDefault<Mixer>;

impl Mixer {
    fn mix(&mut self, word: u64) {
        let (a, b) = self.halves;
        self.halves = (
            (a.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95),
            (b.rotate_left(23) ^ word).wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1),
        );
    }

    fn done(&self) -> (u64, u64) {
        let mut whole = *self;
        whole.mix(self.word | u64::from(self.bytes) << 56);
        (fold(whole.halves.0, 0x9e37_79b9_7f4a_7c15), fold(whole.halves.1, 0xd6e8_feb8_6659_fd93))
    }

    fn wide(&self) -> u128 {
        let (a, b) = self.done();
        u128::from(a) << 64 | u128::from(b)
    }
}

fn fold(value: u64, by: u64) -> u64 {
    let wide = u128::from(value ^ (value >> 29)) * u128::from(by);
    #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
    let (low, high) = (wide as u64, (wide >> 64) as u64);
    low ^ high
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.done().0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, value: u8) {
        self.word = self.word << 8 | u64::from(value);
        self.bytes += 1;
        if self.bytes == 7 {
            self.mix(self.word);
            (self.word, self.bytes) = (0, 0);
        }
    }

    fn write_u128(&mut self, value: u128) {
        #[allow(clippy::cast_possible_truncation, reason = "both halves are used")]
        let (low, high) = (value as u64, (value >> 64) as u64);
        self.mix(low);
        self.mix(high);
    }

    /// Lengths of arrays, which are all the same here.
    fn write_usize(&mut self, _length: usize) {}

    /// Which variant of an enum: never more than a byte.
    fn write_isize(&mut self, variant: isize) {
        self.write_u8(variant.to_le_bytes()[0]);
    }
}

fn fingerprint(state: &State) -> u128 {
    let mut mixer = Mixer::default();
    state.hash(&mut mixer);
    mixer.wide()
}

/// How a state was reached first.
struct Reached {
    from: u32,
    by: Action,
}

struct Search<'a> {
    scene: &'a Scene,
    core: Core,
    known: HashMap<u128, u32, Hashing>,
    reached: Vec<Reached>,
    goals: Vec<bool>,
    /// Fair transitions, (from, to).
    fair: Vec<(u32, u32)>,
}

/// Explores scenes on all cores, and tells of each as it is done.
pub fn explore_all<'a>(scenes: &'a [Scene], tell: impl Fn(&'a Scene, &Found) + Sync) -> Vec<(&'a Scene, Found)> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(scenes.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(scene) = scenes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = explore(scene);
                    tell(scene, &one);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((scene, one));
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Explores a scene: every state that can be reached in it, or up to the first breach.
#[must_use]
pub fn explore(scene: &Scene) -> Found {
    let started = Instant::now();
    let mut search = Search {
        scene,
        core: Core::new(scene),
        known: HashMap::default(),
        reached: Vec::new(),
        goals: Vec::new(),
        fair: Vec::new(),
    };
    let (breach, transitions, depth) = search.run();
    let breach = breach.or_else(|| search.stuck());
    let breach = breach.map(|(breach, index, last)| {
        let story = search.story(index, last);
        (breach, story)
    });
    Found { states: search.reached.len(), transitions, depth, took: started.elapsed(), breach }
}

type Bad = (Breach, u32, Option<Action>);

impl Search<'_> {
    fn visit(&mut self, state: &State, from: u32, by: Action) -> (u32, bool) {
        let next = u32::try_from(self.reached.len()).unwrap_or(u32::MAX);
        let index = *self.known.entry(fingerprint(state)).or_insert(next);
        if index == next {
            self.reached.push(Reached { from, by });
            self.goals.push(false);
        }
        (index, index == next)
    }

    fn run(&mut self) -> (Option<Bad>, usize, usize) {
        let mut queue = VecDeque::new();
        let start = self.scene.start();
        self.visit(&start, 0, Action::Tick);
        queue.push_back((start, 0_u32, 0_usize));
        let (mut transitions, mut depth) = (0, 0);
        let mut actions = Vec::new();
        while let Some((state, index, level)) = queue.pop_front() {
            depth = depth.max(level);
            self.goals[index as usize] =
                rules::is_goal(&state, self.scene) && world::is_still(self.scene, &mut self.core, &state);
            actions.clear();
            world::actions(self.scene, &state, |action| actions.push(action));
            for action in &actions {
                match world::apply(self.scene, &mut self.core, &state, *action) {
                    None => {}
                    Some(Err(breach)) => return (Some((breach, index, Some(*action))), transitions, level + 1),
                    Some(Ok(next)) => {
                        transitions += 1;
                        let (to, new) = self.visit(&next, index, *action);
                        if world::is_fair(*action) {
                            self.fair.push((index, to));
                        }
                        if new {
                            queue.push_back((next, to, level + 1));
                        }
                    }
                }
            }
            if self.reached.len() > MOST {
                let breach = Breach::bound("more states than expected");
                return (Some((breach, index, None)), transitions, depth);
            }
        }
        (None, transitions, depth)
    }

    /// I6: a state from which no fair way leads to the goal.
    fn stuck(&self) -> Option<Bad> {
        let count = self.reached.len();
        let mut offsets = vec![0_u32; count + 1];
        for (_, to) in &self.fair {
            offsets[*to as usize + 1] += 1;
        }
        for index in 0..count {
            offsets[index + 1] += offsets[index];
        }
        let mut into = vec![0_u32; self.fair.len()];
        let mut filled = offsets.clone();
        for (from, to) in &self.fair {
            let at = &mut filled[*to as usize];
            into[*at as usize] = *from;
            *at += 1;
        }
        let mut reaches = self.goals.clone();
        let mut stack: Vec<_> = (0..count).filter(|index| reaches[*index]).collect();
        while let Some(index) = stack.pop() {
            for from in &into[offsets[index] as usize..offsets[index + 1] as usize] {
                if !std::mem::replace(&mut reaches[*from as usize], true) {
                    stack.push(*from as usize);
                }
            }
        }
        let stuck = reaches.iter().position(|reaches| !reaches)?;
        let breach =
            Breach { rule: "I6", what: "no way leads to the goal from here, even if nothing disturbs".to_owned() };
        Some((breach, u32::try_from(stuck).ok()?, None))
    }

    /// The shortest way to a state, and on with one more action, told line by line.
    fn story(&mut self, index: u32, last: Option<Action>) -> String {
        let mut way: Vec<_> = last.into_iter().collect();
        let mut at = index;
        while at != 0 {
            let Reached { from, by } = &self.reached[at as usize];
            way.push(*by);
            at = *from;
        }
        way.reverse();
        let mut state = self.scene.start();
        let mut text = String::new();
        for (number, action) in way.iter().enumerate() {
            let told = story::tell(self.scene, &mut self.core, &state, *action);
            let _ = writeln!(text, "{:>3}. {told}", number + 1);
            if let Some(Ok(next)) = world::apply(self.scene, &mut self.core, &state, *action) {
                state = next;
            }
        }
        text + &story::sum_up(self.scene, &state)
    }
}
