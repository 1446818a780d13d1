//! The documented client over TLS, with and without a token.

use std::path::Path;

use openagents_client::AgentClient;
use openagents_e2e::{Peer, SOON, Workspace, within};
use openagents_server::Tls;

const TOKEN: &str = "a-token-of-the-workspace-0123456789";

async fn secure_workspace() -> anyhow::Result<Workspace> {
    Workspace::serve_with(|config| {
        config.tls = Some(Tls::SelfSigned {
            names: vec!["localhost".to_owned()],
        });
        config.tokens = vec![TOKEN.into()];
    })
    .await
}

#[tokio::test]
async fn a_client_trusts_the_authority_it_is_given_and_no_other() -> anyhow::Result<()> {
    let workspace = secure_workspace().await?;
    let authority = workspace.data().join("tls/certificate.pem");
    let client = AgentClient::new("careful");
    assert!(
        client
            .connect_to_server("https://localhost", workspace.port())
            .token(TOKEN)
            .await
            .is_err()
    );
    let connect = |token: &str| {
        client
            .connect_to_server("localhost", workspace.port())
            .use_tls(true)
            .ca_certificate(&authority)
            .token(token)
    };
    let refused = connect("another-token").await.expect_err("the token is wrong");
    assert_eq!(refused.code(), "unauthenticated");
    assert!(!client.is_connected());
    connect(TOKEN).await?;
    assert!(client.is_connected());
    assert!(client.workspace().channel("general").post("safe").await.success);
    client.disconnect().await;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_authorities_of_the_system_come_from_ssl_cert_file_where_it_is_set() -> anyhow::Result<()> {
    let workspace = secure_workspace().await?;
    let authority = workspace.data().join("tls/certificate.pem");
    let port = workspace.port().to_string();
    let arguments = ["join", "https://localhost", &port, TOKEN];
    let environment = [("SSL_CERT_FILE", authority.to_str().expect("a plain name"))];
    let program = Path::new(env!("CARGO_BIN_EXE_peer"));
    let (peer, line) = within(SOON, Peer::start_with(program, &arguments, &environment)).await?;
    assert_eq!(line, "posted");
    assert!(within(SOON, peer.ended()).await?.success());
    workspace.stop().await;
    Ok(())
}
