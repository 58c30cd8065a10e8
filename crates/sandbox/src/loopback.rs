//! Connections of the servers that stand beside the sandbox: answers on loopback, and cuts where a fault says so.

use std::convert::Infallible;
use std::error::Error;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Makes hyper cut the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
pub(crate) struct Cut;

/// Answers whoever connects, until it is dropped; with it go all connections.
pub(crate) async fn serve<B, F>(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> Infallible
where
    F: Future<Output = Result<Response<B>, Cut>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(converse(stream, answer.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse<B, F>(stream: TcpStream, answer: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Result<Response<B>, Cut>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let _ = stream.set_nodelay(true);
    let answer = hyper::service::service_fn(move |request| {
        // On a task of its own: a real server finishes what it has received, whoever has hung up.
        let answering = tokio::spawn(answer(request));
        async move { answering.await.unwrap_or(Err(Cut)) }
    });
    // An error is a connection that was cut, by them or by a fault.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}
