//! What may happen, and random sequences of it.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use runai_cluster_operator::domain::{AdoptionPolicy, ClusterName, DeletionPolicy, RecreatePolicy};

use super::{Credentials, Habits};

const NAMES: [&str; 3] = ["east", "west", "north"];

pub(crate) fn name(index: usize) -> ClusterName {
    ClusterName::parse(NAMES[index % NAMES.len()]).unwrap()
}

/// The world that a schedule happens in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) habits: Habits,
    pub(crate) may_adopt: bool,
    pub(crate) crd_deleting: bool,
    pub(crate) objects: usize,
    pub(crate) same_name: bool,
    /// Objects begin with `recreatePolicy: IfMissing`.
    pub(crate) recreate: bool,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It never arrives, and nobody knows.
    LostRequest,
    /// It takes effect, and nobody knows.
    LostAnswer,
    /// A POST takes effect this many seconds later, and nobody knows.
    Late(u8),
    /// It certainly was not sent.
    Unsent,
    /// 4xx.
    Refused,
    /// 4xx by a gateway, after it took effect.
    RefusedAfter,
    /// Another writer was faster.
    Conflict,
    CrashBefore,
    CrashAfter,
}

impl Fault {
    pub(super) const fn fails_a_read(self) -> bool {
        match self {
            Self::None | Self::Conflict | Self::CrashBefore | Self::CrashAfter => false,
            Self::LostRequest
            | Self::LostAnswer
            | Self::Late(_)
            | Self::Unsent
            | Self::Refused
            | Self::RefusedAfter => true,
        }
    }

    pub(super) const fn fails_a_write(self) -> bool {
        match self {
            Self::None | Self::LostAnswer | Self::CrashBefore | Self::CrashAfter => false,
            Self::LostRequest | Self::Late(_) | Self::Unsent | Self::Refused | Self::RefusedAfter | Self::Conflict => {
                true
            }
        }
    }
}

/// What a user changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    Name(usize),
    Suspend(bool),
    Observe(bool),
    Invalid(bool),
    Policy(Option<DeletionPolicy>),
    Recreate(RecreatePolicy),
    Adopt(AdoptionPolicy),
    AdoptUuid(usize),
    Delete,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    Pass { object: usize, faults: Vec<Fault>, lagging: bool },
    Poll,
    Wait(u16),
    Restart,
    ReadsFail(bool),
    WipeStatus(usize),
    WipeAnnotations(usize),
    Forge(usize, usize),
    Swap(Credentials),
    OthersRename(usize, &'static str),
    OthersDelete(usize),
    OthersCreate(&'static str),
    Finish,
    Edit(usize, Edit),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        12 => Just(Fault::None),
        2 => Just(Fault::LostRequest),
        2 => Just(Fault::LostAnswer),
        3 => (1..=110_u8).prop_map(Fault::Late),
        1 => Just(Fault::Unsent),
        1 => Just(Fault::Refused),
        1 => Just(Fault::RefusedAfter),
        1 => Just(Fault::Conflict),
        1 => Just(Fault::CrashBefore),
        2 => Just(Fault::CrashAfter),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Edit::Name),
        2 => any::<bool>().prop_map(Edit::Suspend),
        2 => any::<bool>().prop_map(Edit::Observe),
        1 => any::<bool>().prop_map(Edit::Invalid),
        1 => prop_oneof![Just(None), Just(Some(DeletionPolicy::Delete)), Just(Some(DeletionPolicy::Orphan))]
            .prop_map(Edit::Policy),
        2 => prop_oneof![1 => Just(RecreatePolicy::Never), 3 => Just(RecreatePolicy::IfMissing)].prop_map(Edit::Recreate),
        1 => prop_oneof![Just(AdoptionPolicy::Never), Just(AdoptionPolicy::IfExists), Just(AdoptionPolicy::Required)]
            .prop_map(Edit::Adopt),
        1 => (0..4_usize).prop_map(Edit::AdoptUuid),
        3 => Just(Edit::Delete),
    ]
}

fn named() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("east"), 1 => Just("west"), 1 => Just("elsewhere")]
}

/// What happens without other people: it must end well without a person.
fn peaceful() -> impl Strategy<Value = Move> {
    let pass = (0..2_usize, vec(fault(), 0..10), prop_oneof![7 => Just(false), 1 => Just(true)]);
    prop_oneof![
        24 => pass.prop_map(|(object, faults, lagging)| Move::Pass { object, faults, lagging }),
        8 => Just(Move::Poll),
        4 => (1..20_u16).prop_map(Move::Wait),
        3 => (90..400_u16).prop_map(Move::Wait),
        2 => Just(Move::Restart),
        1 => any::<bool>().prop_map(Move::ReadsFail),
        1 => (0..2_usize).prop_map(Move::WipeStatus),
        1 => (0..2_usize).prop_map(Move::WipeAnnotations),
        2 => Just(Move::Finish),
        4 => (0..2_usize, edit()).prop_map(|(object, edit)| Move::Edit(object, edit)),
    ]
}

/// Other people meddle too.
fn hostile() -> impl Strategy<Value = Move> {
    let credentials =
        prop_oneof![2 => Just(Credentials::Full), 1 => Just(Credentials::Narrow), 1 => Just(Credentials::Foreign)];
    prop_oneof![
        50 => peaceful(),
        1 => (0..2_usize, 0..4_usize).prop_map(|(object, row)| Move::Forge(object, row)),
        2 => credentials.prop_map(Move::Swap),
        4 => (0..4_usize, named()).prop_map(|(row, name)| Move::OthersRename(row, name)),
        3 => (0..4_usize).prop_map(Move::OthersDelete),
        1 => named().prop_map(Move::OthersCreate),
    ]
}

/// Somebody renames again and again what the operator renames back.
fn quarrel() -> impl Strategy<Value = Vec<Move>> {
    let pass = |object| Move::Pass { object, faults: Vec::new(), lagging: false };
    let round = (0..2_usize, 0..3_usize)
        .prop_map(move |(object, row)| vec![Move::OthersRename(row, "elsewhere"), Move::Poll, pass(object)]);
    vec(prop_oneof![4 => round, 1 => hostile().prop_map(|step| vec![step])], 1..16).prop_map(|rounds| rounds.concat())
}

fn habits() -> impl Strategy<Value = Habits> {
    let rarely = || prop_oneof![7 => Just(false), 1 => Just(true)];
    let often = || prop_oneof![1 => Just(false), 7 => Just(true)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), often(), any::<bool>(), any::<bool>(), rarely());
    (flags, -300..300_i64).prop_map(|(flags, skew)| {
        let (unique, hides_deleting, tombstones, token_tells, neighbour, instant, dateless) = flags;
        Habits { unique, hides_deleting, tombstones, token_tells, neighbour, instant, dateless, skew }
    })
}

fn setup() -> impl Strategy<Value = Setup> {
    let rarely = prop_oneof![9 => Just(false), 1 => Just(true)];
    (habits(), any::<bool>(), rarely, 1..=2_usize, any::<bool>(), any::<bool>()).prop_map(
        |(habits, may_adopt, crd_deleting, objects, same_name, recreate)| Setup {
            habits,
            may_adopt,
            crd_deleting,
            objects,
            same_name,
            recreate,
        },
    )
}

/// A world and what happens in it.
pub(crate) fn histories() -> impl Strategy<Value = (Setup, Vec<Move>)> {
    let moves = prop_oneof![3 => vec(peaceful(), 1..30), 3 => vec(hostile(), 1..40), 1 => quarrel()];
    (setup(), moves)
}
