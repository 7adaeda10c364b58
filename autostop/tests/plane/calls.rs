//! gRPC by the library that most of it is written with: streams both ways, statuses, and a stop in between.

use std::pin::Pin;

use autostop::wire::{
    AttachRequest, AttachResponse, Hello, TargetState, attach_request, attach_response,
    link_service_client::LinkServiceClient,
    link_service_server::{LinkService, LinkServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Code, Request, Response, Status, Streaming, transport::Endpoint};

use crate::{
    scene::{Scene, free_port, http_target, local, soon},
    web::HOST,
};

/// Says back what it is told, and ends with a status when it is told nothing.
struct Parrot;

#[tonic::async_trait]
impl LinkService for Parrot {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        if request.metadata().get("refuse").is_some() {
            return Err(Status::permission_denied("not you"));
        }
        let said = request.into_inner().map(|said| match said?.message {
            Some(attach_request::Message::Hello(Hello { plane, .. })) => {
                let state = TargetState { rule_id: plane, ..TargetState::default() };
                Ok(AttachResponse { message: Some(attach_response::Message::State(state)) })
            }
            _ => Err(Status::out_of_range("told nothing")),
        });
        Ok(Response::new(Box::pin(said)))
    }
}

async fn serve(port: u16) -> JoinHandle<()> {
    let listener = TcpListener::bind(local(port)).await.unwrap();
    tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(LinkServiceServer::new(Parrot));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    })
}

fn hello(plane: String) -> AttachRequest {
    let hello = Hello { plane, ..Hello::default() };
    AttachRequest { message: Some(attach_request::Message::Hello(hello)) }
}

#[tokio::test]
async fn a_call_that_streams_both_ways_wakes_counts_and_ends_with_its_status() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", scene.http)).unwrap();
    let channel = endpoint.origin(format!("http://{HOST}").parse().unwrap()).connect().await.unwrap();
    let mut client = LinkServiceClient::new(channel);
    let (say, said) = mpsc::channel(4);
    say.send(hello("before it was awake".to_owned())).await.unwrap();
    let mut caller = client.clone();
    let calling = tokio::spawn(async move { caller.attach(ReceiverStream::new(said)).await });
    scene.control.woken("shop").await;
    let _server = serve(server).await;
    scene.control.waking("shop");
    let mut heard = soon("an answer", calling).await.unwrap().unwrap().into_inner();
    let mut expected = "before it was awake".to_owned();
    // Each is answered before the next is said: nothing is kept back until the end.
    for number in 0..200 {
        let Some(attach_response::Message::State(state)) =
            soon("an answer", heard.message()).await.unwrap().unwrap().message
        else {
            panic!("something else")
        };
        assert_eq!(state.rule_id, expected);
        expected = format!("{number} {}", "x".repeat(number * 100));
        say.send(hello(expected.clone())).await.unwrap();
    }
    let fenced = scene.control.fence("shop").await;
    assert_eq!((fenced.open_requests, fenced.idle_ms), (1, 0), "it is open");
    scene.control.awake("shop");
    assert!(soon("an answer", heard.message()).await.unwrap().is_some());
    say.send(AttachRequest::default()).await.unwrap();
    let status = soon("the end", heard.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, "told nothing"));
    let mut refused = Request::new(tokio_stream::empty());
    refused.metadata_mut().insert("refuse", "yes".parse().unwrap());
    let status = soon("a refusal", client.attach(refused)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "not you"));
    scene.control.told("shop", "none open", |told| told.open_requests == 0).await;
}
