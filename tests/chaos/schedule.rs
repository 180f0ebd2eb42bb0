//! What happens in one round: who lives in it, what users do, what goes wrong, and when. A pure function of the seed.
//!
//! Owns the drawing and the rules that keep a round within what the operator promises. Must not know how anything is
//! carried out.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use runai_simulator::{Access, FaultRule, Profile};

use crate::remote::{Family, draw, is_lie, pick};

/// Faults and deeds happen within this time.
const WINDOW_MS: u64 = 3500;
/// The same for the second act, which is shorter.
const FAREWELL_MS: u64 = 1000;

/// How an object of the round is meant, and what its user does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Stays as it is.
    Plain,
    /// Is Ready only once its agent has connected.
    Patient,
    /// Is renamed, once or twice.
    Renamed,
    /// Is deleted.
    Deleted,
    /// Is deleted, and made again under the same name.
    Remade,
    /// Is registered again when somebody else deletes its registration.
    Stubborn,
    /// Is suspended from its first moment on, and perhaps resumed.
    Asleep,
    /// Is suspended later and renamed meanwhile, and perhaps resumed.
    Sleeper,
    /// Only observes a registration of somebody else.
    Observer,
    /// Takes over a registration of somebody else, and deletes it with itself.
    Adopter,
    /// Asks for a name that somebody else has.
    Refused,
    /// Leaves its registration behind.
    Keeper,
}

const ROLES: [Role; 18] = [
    Role::Plain,
    Role::Plain,
    Role::Plain,
    Role::Patient,
    Role::Renamed,
    Role::Renamed,
    Role::Deleted,
    Role::Deleted,
    Role::Deleted,
    Role::Remade,
    Role::Remade,
    Role::Stubborn,
    Role::Asleep,
    Role::Sleeper,
    Role::Observer,
    Role::Adopter,
    Role::Refused,
    Role::Keeper,
];

impl Role {
    /// Somebody else's registration exists before the object does.
    pub fn needs_foreign(self) -> bool {
        matches!(self, Self::Observer | Self::Adopter | Self::Refused)
    }
}

/// What a user does with the object of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Create(usize),
    Rename(usize),
    Suspend(usize),
    Resume(usize),
    Delete(usize),
    /// As soon as the old one has gone.
    CreateAgain(usize),
}

/// What goes wrong. Numbers are milliseconds unless said otherwise; a `u32` picks one of those that are there.
#[derive(Clone, Debug)]
pub enum Fault {
    Kill,
    Terminate,
    Pause(u64),
    Second,
    ApiServer,
    Etcd(u64),
    SlowApi(u64),
    Cut,
    Refuse(u64),
    Silence(u64),
    BlackHole(u64),
    CrdUpgrade,
    Remote(Family, Box<FaultRule>),
    Revoke,
    Forbid(Vec<Access>, u64),
    /// Seconds.
    ClockForward(u64),
    /// Seconds; then for how long.
    ClockBack(i64, u64),
    AgentsPause,
    AgentsFlap,
    Upgrade(Profile),
    Credentials,
    /// How long the bundle is behind.
    Authority(u64),
    RenameOutside(u32),
    DeleteOutside(u32),
    /// A registration of that name, or of a name that nobody has.
    CreateOutside(Option<usize>),
    /// Annotations of an object that knows its registration.
    WipeNotes(u32),
    /// Annotations of any object.
    WipeAll(u32),
    /// Labels, and a wish to be looked at.
    Touch(u32),
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill => "operator SIGKILL",
            Self::Terminate => "operator SIGTERM",
            Self::Pause(_) => "operator SIGSTOP, SIGCONT",
            Self::Second => "second operator",
            Self::ApiServer => "API server restart",
            Self::Etcd(_) => "etcd restart",
            Self::SlowApi(_) => "API server latency",
            Self::Cut => "API connections cut",
            Self::Refuse(_) => "API connections refused",
            Self::Silence(_) => "API connections silent",
            Self::BlackHole(_) => "API black hole",
            Self::CrdUpgrade => "CRD upgrade",
            Self::Remote(family, _) => family.name(),
            Self::Revoke => "tokens revoked",
            Self::Forbid(..) => "permissions lost",
            Self::ClockForward(_) => "clock step forward",
            Self::ClockBack(..) => "clock step back",
            Self::AgentsPause => "agents pause",
            Self::AgentsFlap => "agents flap",
            Self::Upgrade(_) => "control plane upgrade",
            Self::Credentials => "credentials rotated",
            Self::Authority(_) => "CA rotated",
            Self::RenameOutside(_) => "renamed outside",
            Self::DeleteOutside(_) => "deleted outside",
            Self::CreateOutside(_) => "created outside",
            Self::WipeNotes(_) => "notes wiped",
            Self::WipeAll(_) => "all annotations wiped",
            Self::Touch(_) => "rival writes",
        }
    }

    /// The process forgets what it only remembers, or another one knows less.
    fn forgets(&self) -> bool {
        matches!(self, Self::Kill | Self::Terminate | Self::Second)
    }

    fn lies(&self) -> bool {
        matches!(self, Self::Remote(_, rule) if is_lie(rule))
    }

    /// Its time is the control plane's own.
    fn is_timed_remotely(&self) -> bool {
        matches!(self, Self::Remote(Family::LateCommit | Family::Stale, _))
    }
}

/// One thing at one time.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Duration,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Deed(Deed),
    Fault(Fault),
}

/// One round.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    /// Whether the control plane keeps names unique.
    pub unique_names: bool,
    /// Whether agents connect by themselves.
    pub agents: bool,
    pub profile: Profile,
    pub roles: Vec<Role>,
    /// The first act, until everything is where it belongs.
    pub events: Vec<Event>,
    /// What goes wrong while all objects are deleted.
    pub farewell: Vec<Event>,
}

const PROFILES: [Profile; 5] = [Profile::Cp222, Profile::Cp224, Profile::Cp225, Profile::Cp30, Profile::StrictDoc];

impl Schedule {
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let agents = rng.bool();
        let count = rng.usize(4..10);
        let roles: Vec<_> = (0..count).map(|_| pick(&mut rng, &ROLES)).collect();
        let mut events = Vec::new();
        for (index, role) in roles.iter().enumerate() {
            live(*role, index, &mut rng, &mut events);
        }
        let wanted = rng.usize(3..8);
        events.extend(faults(wanted, WINDOW_MS, count, &mut rng));
        events.sort_by_key(|event| event.at);
        let wanted = if rng.bool() { rng.usize(1..4) } else { 0 };
        let mut farewell = faults(wanted, FAREWELL_MS, count, &mut rng);
        farewell.sort_by_key(|event| event.at);
        let profile = pick(&mut rng, &PROFILES);
        Self { seed, unique_names: rng.u8(..10) < 3, agents, profile, roles, events, farewell }
    }

    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.events.iter().chain(&self.farewell).filter_map(|event| match &event.what {
            What::Fault(fault) => Some(fault),
            What::Deed(_) => None,
        })
    }

    pub fn has(&self, which: impl Fn(&Fault) -> bool) -> bool {
        self.faults().any(which)
    }

    /// What the round is about, in one line.
    pub fn summary(&self) -> String {
        let names = |events: &[Event]| {
            let faults = events.iter().filter_map(|event| match &event.what {
                What::Fault(fault) => Some(fault.name()),
                What::Deed(_) => None,
            });
            faults.collect::<Vec<_>>().join(", ")
        };
        let farewell = if self.farewell.is_empty() { "" } else { "; while deleting: " };
        format!("{}{farewell}{}", names(&self.events), names(&self.farewell))
    }
}

/// The deeds of one object's user, in an order that makes sense.
fn live(role: Role, index: usize, rng: &mut Rng, events: &mut Vec<Event>) {
    let mut deeds = vec![Deed::Create(index)];
    match role {
        Role::Plain | Role::Patient | Role::Stubborn | Role::Refused => {}
        Role::Renamed => deeds.extend(vec![Deed::Rename(index); rng.usize(1..3)]),
        Role::Deleted => deeds.push(Deed::Delete(index)),
        Role::Remade => deeds.extend([Deed::Delete(index), Deed::CreateAgain(index)]),
        Role::Asleep => deeds.extend(rng.bool().then_some(Deed::Resume(index))),
        Role::Sleeper => {
            deeds.extend([Deed::Suspend(index), Deed::Rename(index)]);
            deeds.extend(rng.bool().then_some(Deed::Resume(index)));
        }
        Role::Observer | Role::Adopter | Role::Keeper => deeds.extend(rng.bool().then_some(Deed::Delete(index))),
    }
    let mut at = rng.u64(200..2200);
    for deed in deeds {
        events.push(Event { at: Duration::from_millis(at), what: What::Deed(deed) });
        at += rng.u64(20..1400);
    }
}

/// So many different faults that the operator promises to survive together, one or two of them requests to the control
/// plane that go wrong.
fn faults(wanted: usize, window_ms: u64, objects: usize, rng: &mut Rng) -> Vec<Event> {
    let remote = rng.usize(1..3);
    let mut chosen: Vec<Fault> = Vec::new();
    while chosen.len() < wanted {
        let fault = if chosen.len() < remote { request(rng) } else { fault(objects, rng) };
        let new = chosen.iter().all(|other| other.name() != fault.name());
        if new && chosen.iter().all(|other| go_together(other, &fault) && go_together(&fault, other)) {
            chosen.push(fault);
        }
    }
    let timed = |fault| {
        // Rules for requests wait for what they can hit.
        let within = if matches!(fault, Fault::Remote(..)) { window_ms / 3 } else { window_ms };
        Event { at: Duration::from_millis(rng.u64(0..within)), what: What::Fault(fault) }
    };
    chosen.into_iter().map(timed).collect()
}

fn request(rng: &mut Rng) -> Fault {
    // What can make a second registration comes more often.
    let doubtful = [Family::Lost, Family::LateCommit, Family::Hang, Family::Status, Family::Unavailable];
    let family = if rng.u8(..3) == 0 { pick(rng, &doubtful) } else { pick(rng, &Family::ALL) };
    Fault::Remote(family, Box::new(draw(family, rng)))
}

fn go_together(a: &Fault, b: &Fault) -> bool {
    // When both copies of an intent go at once, nothing can tell that there was one.
    let all_copies = matches!(a, Fault::WipeAll(_)) && b.forgets();
    let two_lies = a.lies() && b.lies();
    // A clock that steps moves late commits and old reads beyond what is promised.
    let beyond = matches!(a, Fault::ClockForward(_) | Fault::ClockBack(..)) && b.is_timed_remotely();
    !all_copies && !two_lies && !beyond
}

fn fault(objects: usize, rng: &mut Rng) -> Fault {
    match rng.u8(..100) {
        0..=9 => Fault::Kill,
        10..=12 => Fault::Terminate,
        // Some longer than a POST may wait for.
        13..=16 => Fault::Pause(if rng.u8(..4) == 0 { rng.u64(5500..8000) } else { rng.u64(300..3500) }),
        17..=21 => Fault::Second,
        22 => Fault::ApiServer,
        23 => Fault::Etcd(rng.u64(200..1500)),
        24..=27 => Fault::SlowApi(rng.u64(20..400)),
        28..=30 => Fault::Cut,
        31..=32 => Fault::Refuse(rng.u64(300..2500)),
        33..=34 => Fault::Silence(rng.u64(500..3000)),
        35..=36 => Fault::BlackHole(rng.u64(300..2500)),
        37 => Fault::CrdUpgrade,
        38..=67 => request(rng),
        68..=69 => Fault::Revoke,
        70..=72 => {
            let one = [Access::Read, Access::Create, Access::Update, Access::Delete];
            let actions = if rng.bool() { Access::all() } else { vec![pick(rng, &one)] };
            Fault::Forbid(actions, rng.u64(300..2500))
        }
        73 => Fault::ClockForward(pick(rng, &[2, 60, 4000, 90_000])),
        74 => Fault::ClockBack(pick(rng, &[2, 60, 4000, 90_000]), rng.u64(300..2500)),
        75..=76 => Fault::AgentsPause,
        77..=78 => Fault::AgentsFlap,
        79..=80 => Fault::Upgrade(pick(rng, &PROFILES)),
        81..=82 => Fault::Credentials,
        83..=84 => Fault::Authority(rng.u64(100..2000)),
        85..=87 => Fault::RenameOutside(rng.u32(..)),
        88..=90 => Fault::DeleteOutside(rng.u32(..)),
        91..=93 => Fault::CreateOutside(rng.bool().then(|| rng.usize(..objects))),
        94..=95 => Fault::WipeNotes(rng.u32(..)),
        96..=97 => Fault::WipeAll(rng.u32(..)),
        _ => Fault::Touch(rng.u32(..)),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, unique_names, agents, profile, roles, events, farewell } = self;
        writeln!(f, "seed {seed}: {profile:?}, unique names {unique_names}, agents {agents}, objects {roles:?}")?;
        events.iter().try_for_each(|event| write!(f, "{event}"))?;
        writeln!(f, "  all objects are deleted")?;
        farewell.iter().try_for_each(|event| write!(f, "{event}"))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_millis();
        match &self.what {
            What::Deed(deed) => writeln!(f, "  {at:>5} ms  {deed:?}"),
            What::Fault(Fault::Remote(family, rule)) => {
                let rule = serde_json::to_string(rule).unwrap_or_default();
                writeln!(f, "  {at:>5} ms  {}: {rule}", family.name())
            }
            What::Fault(fault) => writeln!(f, "  {at:>5} ms  {fault:?}"),
        }
    }
}
