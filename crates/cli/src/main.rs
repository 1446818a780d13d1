fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut config = openagents_server::Config::new(std::env::args().nth(1).unwrap());
        config.listen = "127.0.0.1:8701".parse().unwrap();
        config.workspace.durability = std::env::args().nth(2).unwrap().parse().unwrap();
        let server = openagents_server::Server::bind(config).await.unwrap();
        println!("ready {}", server.url());
        tokio::signal::ctrl_c().await.unwrap();
        server.shutdown().await;
    });
}
