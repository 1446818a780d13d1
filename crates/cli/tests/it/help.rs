//! What the program says of itself.

use crate::harness::run;

#[tokio::test]
async fn help_shows_the_commands_and_examples() {
    insta::assert_snapshot!(run(["--help"]).await.ok(), @r"
    A workspace for AI agents: one program that serves it, and uses it from the command line

    Usage: openagents [OPTIONS] <COMMAND>

    Commands:
      serve          Serve a workspace
      network        Set up a workspace in a folder, and serve it
      demo           See two agents talk
      info           Tell about the workspace
      agents         List the agents that are online, or tell about one
      status         Tell others what an agent does, and what it is
      permissions    Tell what you may do, by your token or the password of your group
      channels       List the channels, make them, change them
      post           Post to a channel
      send           Send a message to one agent
      emit           Send an event
      tail           Watch what happens
      history        Read what was said
      search         Search what was said
      conversations  List the agents that an agent writes with, the newest first
      message        Read one message
      react          React to a message
      edit           Replace what a message says
      delete         Delete a message
      files          List files, send and fetch them
      explain        Tell why an agent got an event, or did not
      held           List the messages that are held
      unblock        Deliver messages that are held
      token          Make, list and revoke tokens
      retention      Tell what is kept and removed, and who has not read what is to go
      backup         Copy a workspace into a new directory, also while a server uses it
      restore        Make a workspace of a backup, or of its beginning
      repair         Look for damage, and save what can be saved of a damaged log
      rebuild        Build the view of a workspace anew from its log
      bench          Measure a running server
      completions    Print completions for a shell

    Options:
          --json               Print JSON for programs: one object, or one per line
          --log-level <LEVEL>  What to log: error, warn, info, debug, trace, or directives such as
                               `warn,openagents_server=debug` [env: OPENAGENTS_LOG_LEVEL]
      -h, --help               Print help
      -V, --version            Print version

    Examples:
      openagents serve                          a workspace on http://127.0.0.1:8700
      openagents demo                           two agents talk, to see that everything works
      openagents post general 'Hello!'          say something
      openagents tail --channel general         watch what is said
      openagents send bob 'Ready?' --wait 30s   ask an agent and wait for its answer
      openagents token create --agent bob       let an agent in, and nobody else under its name

    Commands that use a workspace take --url and --token, or OPENAGENTS_URL and
    OPENAGENTS_TOKEN.
    ");
}

#[tokio::test]
async fn every_command_has_help() {
    for command in [
        "serve",
        "network",
        "demo",
        "info",
        "agents",
        "status",
        "permissions",
        "channels",
        "post",
        "send",
        "emit",
        "tail",
        "history",
        "search",
        "conversations",
        "message",
        "react",
        "edit",
        "delete",
        "files",
        "explain",
        "held",
        "unblock",
        "token",
        "retention",
        "backup",
        "restore",
        "repair",
        "rebuild",
        "bench",
        "completions",
    ] {
        let help = run([command, "--help"]).await.ok();
        assert!(help.contains("Example") || command == "demo", "{help}");
    }
}

#[tokio::test]
async fn secrets_of_the_environment_do_not_show() {
    let mut command = crate::harness::openagents();
    let help = crate::harness::finish(
        command
            .env("OPENAGENTS_TOKEN", "oa_secret")
            .args(["serve", "--help"]),
    )
    .await;
    assert!(!help.ok().contains("oa_secret"));
}

#[tokio::test]
async fn wrong_usage_is_exit_code_two() {
    let usage = run(["post", "general"]).await;
    assert_eq!(usage.code, Some(2));
    insta::assert_snapshot!(usage.stderr, @r"
    error: the following required arguments were not provided:
      <TEXT>

    Usage: openagents post <CHANNEL> <TEXT>

    For more information, try '--help'.
    ");
    assert_eq!(run::<&str>([]).await.code, Some(2));
    assert_eq!(run(["serve", "--durability", "maybe"]).await.code, Some(2));
    assert_eq!(run(["send", "bob", "Hi", "--wait", "soon"]).await.code, Some(2));
}

#[tokio::test]
async fn versions_and_completions_are_printed() {
    assert_eq!(
        run(["--version"]).await.ok(),
        concat!("openagents ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = run(["completions", shell]).await.ok();
        for command in ["explain", "unblock", "unarchive", "upload"] {
            assert!(script.contains(command), "{shell} {command}");
        }
    }
}

#[tokio::test]
async fn every_subcommand_has_help() {
    let of = |command: &'static str, subcommands: &'static [&str]| (command, subcommands);
    for (command, subcommands) in [
        of("network", &["init", "start"]),
        of("token", &["create", "list", "revoke"]),
        of("bench", &["latency", "throughput", "fanout"]),
        of("files", &["list", "upload", "download", "describe", "delete"]),
        of(
            "channels",
            &[
                "list",
                "create",
                "describe",
                "topic",
                "configure",
                "permissions",
                "archive",
                "unarchive",
                "delete",
                "join",
                "leave",
                "members",
            ],
        ),
    ] {
        for subcommand in subcommands {
            let help = run([command, subcommand, "--help"]).await.ok();
            assert!(help.contains("Usage: openagents"), "{help}");
        }
    }
}

#[tokio::test]
async fn the_page_about_the_commands_names_every_one() {
    const PAGE: &str = include_str!("../../../../docs/cli.md");

    let help = run(["--help"]).await.ok();
    let listed = help.split("Commands:\n").nth(1).unwrap();
    let commands = listed.lines().take_while(|line| !line.is_empty());
    for line in commands {
        let command = line.split_whitespace().next().unwrap();
        let rows = [format!("`{command}`"), format!("`{command} ")];
        assert!(rows.iter().any(|row| PAGE.contains(row)), "{command}");
    }
}
