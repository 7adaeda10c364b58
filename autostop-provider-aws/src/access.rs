//! The way to Amazon: where, as whom, and one client of each service for each region.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{failure::Failure, target};

/// How long it may take to connect, and until an answer begins.
const CONNECT: Duration = Duration::from_secs(4);
const READ: Duration = Duration::from_secs(20);
/// How often a call is made before its failure is told; lw_proxy has patience of its own.
const ATTEMPTS: u32 = 3;

/// The table `options` of the provider. What is left out is found as everywhere: in the environment, in
/// `~/.aws`, or from the machine or container that this runs on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where things are unless a rule says it.
    pub region: Option<String>,
    /// Another address for all services, such as an emulator's.
    pub endpoint_url: Option<String>,
    /// A profile of `~/.aws/config`.
    pub profile: Option<String>,
    /// A role to take.
    pub role_arn: Option<String>,
    /// What the owner of the role wants to hear.
    pub external_id: Option<String>,
    /// Which of a machine's addresses is used, unless a rule says it.
    pub address: target::Address,
}

/// Amazon, as one provider of lw_proxy sees it.
pub struct Access {
    /// As they were told.
    pub options: Options,
    config: OnceCell<SdkConfig>,
    places: Mutex<HashMap<Option<String>, Arc<Place>>>,
}

/// One region.
pub struct Place {
    /// Machines.
    pub ec2: aws_sdk_ec2::Client,
    /// Scale groups.
    pub groups: aws_sdk_autoscaling::Client,
    /// Databases.
    pub rds: aws_sdk_rds::Client,
    /// Container services.
    pub ecs: aws_sdk_ecs::Client,
    /// Secrets.
    pub secrets: aws_sdk_secretsmanager::Client,
}

impl Access {
    /// With these options. Nothing is asked yet.
    pub fn new(options: Options) -> Self {
        Self { options, config: OnceCell::new(), places: Mutex::default() }
    }

    /// The clients of a region; without one, of the region that is configured.
    ///
    /// # Errors
    /// When no region is known.
    pub async fn place(&self, region: Option<String>) -> Result<Arc<Place>, Failure> {
        let config = self.config.get_or_init(|| load(&self.options)).await;
        if region.is_none() && config.region().is_none() {
            return Err(target::no_region());
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(region).or_insert_with_key(|region| {
            let mut own = config.to_builder();
            if let Some(region) = region.clone() {
                own = own.region(Region::new(region));
            }
            Arc::new(Place::new(&own.build()))
        });
        Ok(Arc::clone(place))
    }
}

impl Place {
    fn new(config: &SdkConfig) -> Self {
        Self {
            ec2: aws_sdk_ec2::Client::new(config),
            groups: aws_sdk_autoscaling::Client::new(config),
            rds: aws_sdk_rds::Client::new(config),
            ecs: aws_sdk_ecs::Client::new(config),
            secrets: aws_sdk_secretsmanager::Client::new(config),
        }
    }
}

async fn load(options: &Options) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).build();
    let http = aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    });
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let Some(role) = &options.role_arn else { return config };
    let mut provider = AssumeRoleProvider::builder(role).configure(&config).session_name("autostop");
    if let Some(id) = &options.external_id {
        provider = provider.external_id(id);
    }
    let provider = SharedCredentialsProvider::new(provider.build().await);
    config.into_builder().credentials_provider(provider).build()
}
