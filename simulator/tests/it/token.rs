//! Tokens: grants, spellings, formats, lifetimes, revocation, tenants.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use runai_simulator::{FaultAction, OldTokens, Phase, Profile, TokenFormat};
use serde_json::{Value, json};
use std::time::Duration;

use crate::common::{Answer, Api, manual, read};

async fn v1(api: &Api, body: Value) -> Answer {
    read(api.client.post(api.at("/api/v1/token")).json(&body).send().await.unwrap()).await
}

async fn v2(api: &Api, form: &str) -> Answer {
    let request = api.client.post(api.at("/api/v2/token")).header("content-type", "application/x-www-form-urlencoded");
    read(request.body(form.to_owned()).send().await.unwrap()).await
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn v1_matches_keys_without_regard_to_case() {
    let api = Api::with(|_| ()).await;
    for body in [
        json!({"grantType": "client_credentials", "clientID": "operator", "clientSecret": "operator-secret"}),
        json!({"GRANTTYPE": "client_credentials", "clientId": "operator", "CLIENTsecret": "operator-secret"}),
        json!({"grantType": "app_token", "AppId": "operator", "AppSecret": "operator-secret"}),
    ] {
        let answer = v1(&api, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.body["expiresIn"], 3600);
        let claims = claims(answer.body["accessToken"].as_str().unwrap());
        assert_eq!(claims["tenantId"], 1001);
        assert_eq!(claims["sub"], "operator");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    }
}

#[tokio::test]
async fn v1_refuses_what_is_wrong() {
    let api = Api::with(|_| ()).await;
    let unknown = json!({"grantType": "client_credentials", "clientID": "nobody", "clientSecret": "x"});
    let wrong = json!({"grantType": "client_credentials", "clientID": "operator", "clientSecret": "x"});
    let (unknown, wrong) = (v1(&api, unknown).await, v1(&api, wrong).await);
    assert_eq!((unknown.status.as_u16(), wrong.status.as_u16()), (400, 400));
    assert_eq!(unknown.text, wrong.text, "the reply must not tell an unknown id from a wrong secret");
    for body in [
        json!({}),
        json!([]),
        json!({"grantType": "magic"}),
        json!({"grantType": "password", "username": "a", "password": "b"}),
        json!({"grantType": "client_credentials", "clientID": "operator"}),
    ] {
        assert_eq!(v1(&api, body.clone()).await.status, 400, "{body}");
    }
    api.sim.configure(|config| config.token.bad_credential_status = 401);
    let wrong = json!({"grantType": "client_credentials", "clientID": "operator", "clientSecret": "x"});
    assert_eq!(v1(&api, wrong).await.status, 401);
}

#[tokio::test]
async fn v2_speaks_oauth() {
    let api = Api::with(|_| ()).await;
    let good = v2(&api, "grant_type=client_credentials&client_id=operator&client_secret=operator%2Dsecret").await;
    assert_eq!(good.status, 200, "{}", good.text);
    assert_eq!((good.body["token_type"].as_str(), good.body["expires_in"].as_i64()), (Some("Bearer"), Some(3600)));
    let basic = api.client.post(api.at("/api/v2/token")).basic_auth("operator", Some("operator-secret"));
    let basic = read(basic.body("grant_type=client_credentials").send().await.unwrap()).await;
    assert_eq!(basic.status, 200, "{}", basic.text);
    for (form, status, error) in [
        ("grant_type=client_credentials&client_id=operator&client_secret=no", 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=operator", 400, "invalid_request"),
        ("client_id=operator", 400, "invalid_request"),
        ("grant_type=magic", 400, "unsupported_grant_type"),
    ] {
        let answer = v2(&api, form).await;
        assert_eq!((answer.status.as_u16(), answer.body["error"].as_str()), (status, Some(error)), "{form}");
    }
}

#[tokio::test]
async fn grants_depend_on_the_profile() {
    let body = || json!({"grantType": "client_credentials", "clientID": "operator", "clientSecret": "operator-secret"});
    for (profile, credentials, expires, v2_status) in [
        (Profile::Cp218, 400, false, 404),
        (Profile::Cp220, 200, false, 404),
        (Profile::Cp224, 200, true, 200),
        (Profile::Cp30, 200, true, 200),
    ] {
        let api = Api::profile(profile).await;
        let answer = v1(&api, body()).await;
        assert_eq!(answer.status, credentials, "{profile:?}");
        assert_eq!(answer.body.get("expiresIn").is_some(), expires, "{profile:?}");
        let form = "grant_type=client_credentials&client_id=operator&client_secret=operator-secret";
        assert_eq!(v2(&api, form).await.status, v2_status, "{profile:?}");
    }
}

#[tokio::test]
async fn formats() {
    let api = Api::with(|_| ()).await;
    for format in [TokenFormat::Jwt, TokenFormat::JwtNoExp, TokenFormat::JwtUrlsafeChars, TokenFormat::Opaque] {
        api.sim.configure(|config| config.token.format = format);
        let token = api.fresh_token().await;
        let list = api.client.get(api.at("/api/v1/clusters?")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(list.status(), 200, "{format:?}");
        match format {
            TokenFormat::Opaque => assert!(!token.contains('.')),
            TokenFormat::JwtNoExp => assert!(claims(&token).get("exp").is_none()),
            TokenFormat::Jwt => {
                let payload = token.split('.').nth(1).unwrap();
                let padded = format!("{payload}{}", "=".repeat((4 - payload.len() % 4) % 4));
                assert!(STANDARD.decode(padded).is_ok(), "standard base64 must do: {payload}");
                assert!(claims(&token)["exp"].is_i64());
            }
            TokenFormat::JwtUrlsafeChars => {
                assert!(token.split('.').nth(1).unwrap().contains(['-', '_']), "{token}");
                assert!(claims(&token)["exp"].is_i64());
            }
        }
    }
}

#[tokio::test]
async fn tokens_end_by_the_virtual_clock_and_by_revocation() {
    let mut api = Api::start(manual()).await;
    assert_eq!(api.get("/api/v1/clusters").await.status, 200);
    api.sim.advance(Duration::from_secs(3601));
    assert_eq!(api.get("/api/v1/clusters").await.status, 401);
    api.log_in().await;
    api.sim.apply(&FaultAction::TokenRevoke { identity: Some("somebody-else".to_owned()), phase: Phase::Pre });
    assert_eq!(api.get("/api/v1/clusters").await.status, 200);
    api.sim.apply(&FaultAction::TokenRevoke { identity: None, phase: Phase::Pre });
    assert_eq!(api.get("/api/v1/clusters").await.status, 401);
    api.log_in().await;
    assert_eq!(api.get("/api/v1/clusters").await.status, 200);
    api.sim.set_clock_skew(jiff::SignedDuration::from_hours(2));
    assert_eq!(api.get("/api/v1/clusters").await.status, 401, "the server's clock jumped past the token's end");
}

#[tokio::test]
async fn a_bad_authorization_header_is_401() {
    let api = Api::with(|_| ()).await;
    for header in ["", "Bearer", "Bearer nonsense", "Basic b3BlcmF0b3I6eA==", "bearer "] {
        let request = api.client.get(api.at("/api/v1/clusters")).header("authorization", header);
        assert_eq!(read(request.send().await.unwrap()).await.status, 401, "{header:?}");
    }
    assert_eq!(api.client.get(api.at("/api/v1/clusters")).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_swapped_tenant_shows_other_clusters() {
    let mut api = Api::with(|_| ()).await;
    let path = api.create("mine").await;
    for (old_tokens, status) in [(OldTokens::Keep, 200), (OldTokens::Move, 404), (OldTokens::Revoke, 401)] {
        api.sim.apply(&FaultAction::SwapTenant { identity: None, tenant_id: 1001, old_tokens: OldTokens::Revoke });
        api.log_in().await;
        assert_eq!(api.get(&path).await.status, 200);
        api.sim.apply(&FaultAction::SwapTenant { identity: Some("operator".to_owned()), tenant_id: 2002, old_tokens });
        assert_eq!(api.get(&path).await.status, status, "{old_tokens:?}");
        api.log_in().await;
        assert_eq!(claims(&api.token)["tenantId"], 2002);
        assert_eq!(api.get(&path).await.status, 404);
        assert_eq!(api.names("").await, Vec::<String>::new());
    }
}
