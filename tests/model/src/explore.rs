//! Visits every state of a world, breadth first, and asks of each whether the goal can still be reached.
//!
//! Owns the search. Must not know what a state means: that is the [`World`]'s. States are kept as 128-bit fingerprints: with 10^8 of them the chance that any two share one is
//! below 10^-22.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::rules::Breach;

/// More states than any world has: beyond this a world is too large to be explored.
pub const MOST: usize = 200_000_000;

/// What an action leads to; `None` where it cannot happen or changes nothing.
pub type Next<S> = Option<Result<S, Breach>>;

/// A bounded world.
pub trait World: Sync {
    /// One moment.
    type State: Copy + Hash;
    /// One thing that happens.
    type Action: Copy;
    /// Whom the world asks for decisions.
    type Core;

    /// Its name.
    fn name(&self) -> &'static str;
    /// A core that was not asked yet.
    fn core(&self) -> Self::Core;
    /// Where it begins.
    fn start(&self) -> Self::State;
    /// Adds every action that may happen in this state.
    fn actions(&self, state: &Self::State, into: &mut Vec<Self::Action>);
    /// What the action leads to.
    fn apply(&self, core: &mut Self::Core, state: &Self::State, action: Self::Action) -> Next<Self::State>;
    /// Whether it happens by itself, sooner or later, when nobody disturbs any more.
    fn is_fair(&self, action: Self::Action) -> bool;
    /// Whether all is as it should end up, and stays so.
    fn is_goal(&self, core: &mut Self::Core, state: &Self::State) -> bool;
    /// The invariant that says that the goal is reached from everywhere.
    fn liveness(&self) -> &'static str;
    /// The action in words.
    fn tell(&self, core: &mut Self::Core, state: &Self::State, action: Self::Action) -> String;
    /// How things stand at the end of a history.
    fn sum_up(&self, state: &Self::State) -> String;
}

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

fn fingerprint(state: &impl Hash) -> u128 {
    let mut mixer = Mixer::default();
    state.hash(&mut mixer);
    mixer.wide()
}

/// How a state was reached first. The first one was not.
struct Reached<A> {
    from: u32,
    by: Option<A>,
}

struct Search<'a, W: World> {
    world: &'a W,
    core: W::Core,
    known: HashMap<u128, u32, Hashing>,
    reached: Vec<Reached<W::Action>>,
    goals: Vec<bool>,
    /// Fair transitions, (from, to).
    fair: Vec<(u32, u32)>,
}

/// Explores worlds on all cores, and tells of each as it is done.
pub fn explore_all<'a, W: World>(worlds: &'a [W], tell: impl Fn(&'a W, &Found) + Sync) -> Vec<(&'a W, Found)> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(worlds.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(world) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = explore(world);
                    tell(world, &one);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((world, one));
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Explores a world: every state that can be reached in it, or up to the first breach.
#[must_use]
pub fn explore<W: World>(world: &W) -> Found {
    let started = Instant::now();
    let mut search = Search {
        world,
        core: world.core(),
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

type Bad<A> = (Breach, u32, Option<A>);

impl<W: World> Search<'_, W> {
    fn visit(&mut self, state: &W::State, from: u32, by: Option<W::Action>) -> (u32, bool) {
        let next = u32::try_from(self.reached.len()).unwrap_or(u32::MAX);
        let index = *self.known.entry(fingerprint(state)).or_insert(next);
        if index == next {
            self.reached.push(Reached { from, by });
            self.goals.push(false);
        }
        (index, index == next)
    }

    fn run(&mut self) -> (Option<Bad<W::Action>>, usize, usize) {
        let mut queue = VecDeque::new();
        let start = self.world.start();
        self.visit(&start, 0, None);
        queue.push_back((start, 0_u32, 0_usize));
        let (mut transitions, mut depth) = (0, 0);
        let mut actions = Vec::new();
        while let Some((state, index, level)) = queue.pop_front() {
            depth = depth.max(level);
            self.goals[index as usize] = self.world.is_goal(&mut self.core, &state);
            actions.clear();
            self.world.actions(&state, &mut actions);
            for action in &actions {
                match self.world.apply(&mut self.core, &state, *action) {
                    None => {}
                    Some(Err(breach)) => return (Some((breach, index, Some(*action))), transitions, level + 1),
                    Some(Ok(next)) => {
                        transitions += 1;
                        let (to, new) = self.visit(&next, index, Some(*action));
                        if self.world.is_fair(*action) {
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

    /// A state from which no fair way leads to the goal.
    fn stuck(&self) -> Option<Bad<W::Action>> {
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
        let what = "no way leads to the goal from here, even if nothing disturbs".to_owned();
        let breach = Breach { rule: self.world.liveness(), what };
        Some((breach, u32::try_from(stuck).ok()?, None))
    }

    /// The shortest way to a state, and on with one more action, told line by line.
    fn story(&mut self, index: u32, last: Option<W::Action>) -> String {
        let mut way: Vec<_> = last.into_iter().collect();
        let mut at = index;
        while at != 0 {
            let Reached { from, by } = &self.reached[at as usize];
            way.extend(*by);
            at = *from;
        }
        way.reverse();
        let mut state = self.world.start();
        let mut text = String::new();
        for (number, action) in way.iter().enumerate() {
            let told = self.world.tell(&mut self.core, &state, *action);
            let _ = writeln!(text, "{:>3}. {told}", number + 1);
            if let Some(Ok(next)) = self.world.apply(&mut self.core, &state, *action) {
                state = next;
            }
        }
        text + &self.world.sum_up(&state)
    }
}
