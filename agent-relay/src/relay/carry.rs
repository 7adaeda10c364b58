//! Carries a request whose client waits for the answer of the upstream.

use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    Relay,
    attempt::{Choice, Template},
};
use crate::{
    envelope::Envelope,
    upstream::{Body, Counts, Progress, Upstream, coming, whole},
};

impl Relay {
    /// See the module. `None` when nobody is there to answer. One without a body is tried at several upstreams.
    pub(crate) async fn carry(&self, envelope: &Envelope, body: Incoming) -> Option<Response<Body>> {
        let plan = self.plan();
        let rule = plan.routes.rule(&envelope.path, &envelope.host)?;
        let is_empty = body.is_end_stream();
        let progress = Progress::default();
        let mut body = Some(coming(body, progress.clone(), None));
        let tries = if is_empty { rule.upstreams.len() } else { 1 };
        for _ in 0..tries {
            let Choice::Try(index, upstream) = self.choose(&plan, rule, None) else { return None };
            let Ok(template) = self.template(envelope, &upstream) else {
                self.released(index, &upstream, None);
                return None;
            };
            let mut make = || {
                let body = if is_empty { whole(bytes::Bytes::new(), progress.clone()) } else { body.take()? };
                request(envelope, &template, &upstream, body)
            };
            // A kept connection may be closed by now, and a body can be sent only once.
            let before = progress.given();
            let answered = upstream.send(true, &progress, &mut make, plan.patience).await;
            Counts::add(&upstream.counts.bytes_out, progress.given() - before);
            match answered {
                Ok((response, _)) => {
                    self.judge(&upstream, response.status().as_u16(), None);
                    let most = plan.patience * 2;
                    return Some(response.map(|body| coming(body, Progress::default(), Some(most))));
                }
                Err(error) => self.failed(&upstream, &error),
            }
        }
        None
    }
}

fn request(
    envelope: &Envelope,
    template: &Template,
    upstream: &Upstream,
    body: Body,
) -> Option<Request<Body>> {
    let mut request = Request::new(body);
    *request.method_mut() = envelope.method.parse().ok()?;
    request.headers_mut().clone_from(&template.fields);
    upstream.address(&mut request, &template.path, &template.query);
    Some(request)
}
