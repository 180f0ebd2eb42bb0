//! Every hostile answer, at every endpoint, through the client: an error that names itself, in bounded time, that shows
//! nothing it must not, is never an absence and never a success.

use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use runai_cluster_operator::domain::{ClusterName, Reason};
use runai_cluster_operator::runai::{
    ApiError, Class, DeleteReply, ErrorKind, MetricsQuery, Operation, RunaiClient, Verbosity,
};

use crate::answers;
use crate::client_support::{Act, CANARIES, Hostile, client, json, new_cluster, patient, record, uuid};

/// Ten times the deadline of `client_support::limits`: what is bounded ends long before.
const BOUND: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Endpoint {
    Token,
    List,
    Get,
    Create,
    Rename,
    Delete,
    Install,
    Metrics,
}

impl Endpoint {
    const ALL: [(Self, u16); 8] = [
        (Self::Token, 200),
        (Self::List, 200),
        (Self::Get, 200),
        (Self::Create, 201),
        (Self::Rename, 200),
        (Self::Delete, 200),
        (Self::Install, 200),
        (Self::Metrics, 200),
    ];

    fn is_asked(self, seen: &crate::client_support::Seen) -> bool {
        seen.path.ends_with("/token") == (self == Self::Token)
    }

    async fn ask(self, client: &RunaiClient) -> Result<String, ApiError> {
        let said = |reply: &dyn std::fmt::Debug| format!("{reply:?}");
        match self {
            Self::Token => client.refresh_token_now().await.map(|()| "a token".to_owned()),
            Self::List => client.list_once(Verbosity::Full).await.map(|list| said(&list)),
            Self::Get => client.get(uuid()).await.map(|record| said(&record)),
            Self::Create => {
                let permit = client.permit(Operation::CreateCluster).await?;
                client.create(&new_cluster("a"), permit).await.map(|record| said(&record))
            }
            Self::Rename => {
                let permit = client.permit(Operation::RenameCluster).await?;
                client.rename(uuid(), &ClusterName::parse("b").unwrap(), permit).await.map(|()| "renamed".to_owned())
            }
            Self::Delete => {
                let permit = client.permit(Operation::DeleteCluster).await?;
                client.delete(uuid(), false, permit).await.map(|reply| said(&reply))
            }
            Self::Install => client.install_info(uuid(), "2.24", None).await.map(|info| said(&info)),
            Self::Metrics => {
                let (start, end) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
                let query = MetricsQuery { types: &["TOTAL_GPU"], group_by: None, start, end };
                client.metrics(uuid(), &query).await.map(|measured| said(&measured))
            }
        }
    }
}

fn check_words(label: &str, error: &ApiError) {
    for text in [error.user_message(), format!("{error:?}")] {
        assert!(text.len() < 1500, "{label}: {} bytes: {text}", text.len());
        let strange = |c: char| c.is_control() || "\u{202e}\u{2066}\u{200b}".contains(c);
        assert!(!text.contains(strange), "{label}: {text:?}");
        assert!(CANARIES.iter().all(|canary| !text.contains(canary)), "{label}: {text}");
    }
}

async fn try_row(endpoint: Endpoint, row: &'static str, act: Act) {
    let label = format!("{row} at {endpoint:?}");
    let server = Hostile::start(move |seen, _| endpoint.is_asked(seen).then(|| act.clone())).await;
    let client = server.client();
    let started = Instant::now();
    let outcome = tokio::time::timeout(BOUND, endpoint.ask(&client)).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{label}: still waiting after {:?}", started.elapsed()));
    let error = match outcome {
        Ok(reply) => panic!("{label}: taken for {reply:.200}"),
        Err(error) => error,
    };
    check_words(&label, &error);
    let named = [Reason::Undecodable, Reason::ConnectionFailed, Reason::Rejected, Reason::AuthFailed];
    assert!(named.contains(&error.reason()) && error.user_message().contains("127.0.0.1"), "{label}: {error}");
    // The token endpoint may well be missing; a registration is not, on these grounds.
    assert!(endpoint == Endpoint::Token || error.class() != Class::Gone, "{label}: an absence? {error}");
    assert_eq!(error.certainly_not_sent(), endpoint == Endpoint::Token, "{label}: {error}");
    if matches!(endpoint, Endpoint::Create | Endpoint::Rename | Endpoint::Delete) {
        let sent = server.seen().iter().filter(|seen| endpoint.is_asked(seen)).count();
        assert_eq!(sent, 1, "{label}: a change is sent once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_answer_at_every_endpoint_is_an_error_that_names_itself() {
    let elsewhere = Hostile::start(|_, _| None).await;
    for (endpoint, code) in Endpoint::ALL {
        let rows = answers::for_every_endpoint(code, &elsewhere.url);
        assert!(rows.len() >= 36);
        // A few at a time: what the slow ones wait for must not be the others' work.
        let (slow, quick): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(row, _)| row.starts_with("slow"));
        let slow = join_all(slow.into_iter().map(|(row, act)| try_row(endpoint, row, act)));
        let quick = async {
            for (row, act) in quick {
                try_row(endpoint, row, act).await;
            }
        };
        tokio::join!(slow, quick);
    }
    assert!(elsewhere.seen().is_empty(), "redirects were followed: {:?}", elsewhere.seen());
}

async fn listed(act: Act) -> Result<(usize, usize), ApiError> {
    let server = Hostile::start(move |seen, _| (seen.method == "GET").then(|| act.clone())).await;
    let list = client(&server.url, patient()).list_once(Verbosity::Full).await?;
    Ok((list.clusters.len(), list.duplicates.len()))
}

#[tokio::test]
async fn hostile_lists_are_an_error_as_a_whole_and_say_why() {
    let table = [
        (answers::endless_list(), "more registrations are listed than the 32 MiB"),
        (answers::endless_conditions(), "an element of the JSON array is unreasonably large"),
        (answers::list_of(&answers::bad_utf8()), "element 0 is not a registration: it is not JSON"),
        (answers::list_of(&answers::twice_the_key()), "element 0 is not a registration: duplicate field `name`"),
        (answers::list_of(&answers::huge_number()), "element 0 is not a registration"),
        (answers::junk(), "not proper HTTP"),
    ];
    for (act, says) in table {
        let error = listed(act).await.expect_err(says);
        assert!(error.user_message().contains(says), "want {says:?}, got {error}");
        check_words(says, &error);
        let broken = matches!(error.kind, ErrorKind::Transport(_));
        assert_eq!(error.reason() == Reason::ConnectionFailed, broken);
    }
}

#[tokio::test]
async fn twenty_thousand_records_each_twice_are_twenty_thousand() {
    let name = answers::evil_text().chars().filter(|c| !c.is_control()).take(50).collect::<String>();
    let one = |n: usize| {
        let uuid = format!("abcdef00-0000-4000-8000-{n:012}");
        format!("{},{}", record(&uuid, &name), record(&uuid.to_uppercase(), "twin"))
    };
    let body = (0..20_000).map(one).collect::<Vec<_>>().join(",");
    assert_eq!(listed(answers::list_of(body.as_bytes())).await.unwrap(), (20_000, 20_000));
}

/// Depth alone is no error where nobody descends; it must not take the stack either.
#[tokio::test]
async fn a_deep_field_that_nobody_reads_does_no_harm() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let element = record(answers::UUID, "a").replacen('{', &format!(r#"{{"x":{deep},"#), 1);
    assert_eq!(listed(answers::list_of(element.as_bytes())).await.unwrap(), (1, 0));
}

#[tokio::test]
async fn a_delete_that_is_answered_for_another_registration_is_no_proof() {
    let reply = Act::Reply(json(200, record(answers::FOREIGN, "a")));
    let server = Hostile::always(reply).await;
    let client = server.client();
    assert_eq!(Endpoint::Get.ask(&client).await.unwrap_err().reason(), Reason::Undecodable);
    let permit = client.permit(Operation::DeleteCluster).await.unwrap();
    let outcome: Result<DeleteReply, _> = client.delete(uuid(), false, permit).await;
    assert_eq!(outcome.unwrap_err().reason(), Reason::Undecodable);
}
