//! Bodies on their way through: never held whole, limited in size, and not waited for without end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, Sleep};

use super::access_log::Line;
use super::pool::Lent;

/// Why a body ended early.
#[derive(Debug)]
pub enum BodyError {
    Broken(hyper::Error),
    TooLarge,
    Silent,
    File(std::io::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Broken(error) => write!(f, "it broke off: {error}"),
            BodyError::TooLarge => f.write_str("it is larger than allowed"),
            BodyError::Silent => f.write_str("nothing came for too long"),
            BodyError::File(error) => write!(f, "its file cannot be read: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}

/// The body of a request, on its way to an upstream.
pub enum RequestBody {
    Empty,
    Stream(Box<Streamed>),
}

pub struct Streamed {
    inner: Incoming,
    left: Option<u64>,
    patience: Duration,
    last: Instant,
    clock: Option<Pin<Box<Sleep>>>,
    /// Set when a limit ended it, so that the client hears why and not that the upstream broke off.
    fault: Rc<std::cell::Cell<Option<Fault>>>,
}

/// What a client did wrong in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    TooLarge,
    Silent,
    Broken,
}

impl RequestBody {
    pub fn of(
        inner: Incoming,
        limit: Option<u64>,
        patience: Duration,
        fault: Rc<std::cell::Cell<Option<Fault>>>,
    ) -> Self {
        match inner.is_end_stream() {
            true => RequestBody::Empty,
            false => RequestBody::Stream(Box::new(Streamed {
                inner,
                left: limit,
                patience,
                last: Instant::now(),
                clock: None,
                fault,
            })),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let RequestBody::Stream(streamed) = self.get_mut() else { return Poll::Ready(None) };
        let Streamed { inner, left, patience, last, clock, fault } = streamed.as_mut();
        let fail = |why: Fault, error: BodyError| {
            fault.set(Some(why));
            Poll::Ready(Some(Err(error)))
        };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                *last = Instant::now();
                if let (Some(left), Some(data)) = (left.as_mut(), frame.data_ref()) {
                    match left.checked_sub(data.len() as u64) {
                        Some(rest) => *left = rest,
                        None => return fail(Fault::TooLarge, BodyError::TooLarge),
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => fail(Fault::Broken, BodyError::Broken(error)),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => loop {
                // One timer for a whole body: it is moved only when it fires.
                let until = *last + *patience;
                let sleep = clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                ready!(sleep.as_mut().poll(cx));
                if Instant::now() >= until {
                    return fail(Fault::Silent, BodyError::Silent);
                }
                sleep.as_mut().reset(until);
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Stream(streamed) => streamed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Stream(streamed) => streamed.inner.size_hint(),
        }
    }
}

/// The body of an answer.
pub enum Body {
    Empty,
    Whole(Option<Bytes>),
    Upstream(Box<FromUpstream>),
    File(Box<super::files::FileBody>),
    /// Any of the others, whose end is a line of the log.
    Logged(Box<(Body, Line)>),
}

pub struct FromUpstream {
    inner: Incoming,
    /// The connection, which goes back when the body has ended and is closed when it breaks off.
    lent: Option<Lent>,
}

impl Body {
    pub fn text(text: impl Into<Bytes>) -> Body {
        Body::Whole(Some(text.into()))
    }

    pub fn upstream(inner: Incoming, lent: Lent) -> Body {
        if inner.is_end_stream() {
            lent.back();
            return Body::Empty;
        }
        Body::Upstream(Box::new(FromUpstream { inner, lent: Some(lent) }))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::File(file) => file.poll_frame(cx),
            Body::Upstream(upstream) => match ready!(Pin::new(&mut upstream.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if upstream.inner.is_end_stream()
                        && let Some(lent) = upstream.lent.take()
                    {
                        lent.back();
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(error)) => {
                    upstream.lent = None;
                    Poll::Ready(Some(Err(BodyError::Broken(error))))
                }
                None => {
                    if let Some(lent) = upstream.lent.take() {
                        lent.back();
                    }
                    Poll::Ready(None)
                }
            },
            Body::Logged(logged) => {
                let (body, line) = logged.as_mut();
                let polled = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Ok(frame)) = &polled
                    && let Some(data) = frame.data_ref()
                {
                    line.bytes += data.len() as u64;
                }
                Poll::Ready(polled)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Whole(bytes) => bytes.is_none(),
            Body::Upstream(upstream) => upstream.inner.is_end_stream(),
            Body::File(file) => file.is_end_stream(),
            Body::Logged(logged) => logged.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Upstream(upstream) => upstream.inner.size_hint(),
            Body::File(file) => file.size_hint(),
            Body::Logged(logged) => logged.0.size_hint(),
        }
    }
}
