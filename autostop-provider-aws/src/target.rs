//! Pure. What a request is about, and where that is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::failure::{Failure, Kind};

/// What a rule says of its target beside the ids. What is not known is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Params {
    /// `filter.tags`: every machine that has all of these.
    pub tags: BTreeMap<String, String>,
    /// `filter.regions`.
    pub regions: Vec<String>,
    /// `filter.zones`: only machines there.
    pub zones: Vec<String>,
    /// `[scale_group]`.
    pub scale_group: ScaleGroup,
    /// `[container]`.
    pub container: Container,
    /// `[database]`.
    pub database: Database,
    /// `params.region`, where the rule has no better place for it.
    pub region: String,
    /// `params.address`: which of a machine's addresses.
    pub address: Option<Address>,
    /// `params.host`: the address of everything, such as a load balancer's name.
    pub host: String,
}

/// `[scale_group]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ScaleGroup {
    /// Where it is.
    pub region: String,
    /// How many machines when awake.
    pub desired: Option<u32>,
    /// Of these, how many at least.
    pub min: Option<u32>,
    /// And at most.
    pub max: Option<u32>,
}

/// `[container]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The cluster that the service is in.
    pub cluster: String,
    /// Where it is.
    pub region: String,
    /// How many tasks when awake.
    pub task_count: Option<u32>,
}

/// `[database]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Database {
    /// Where it is.
    pub region: String,
}

/// Which of a machine's addresses is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    /// In its private network.
    #[default]
    Private,
    /// In the internet; changes with every start unless it is an elastic one.
    Public,
}

/// The kinds of rule that there is something for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// Machines of EC2.
    Instances,
    /// An Auto Scaling group.
    Group,
    /// A database or a cluster of RDS.
    Database,
    /// A service of ECS.
    Service,
}

impl Thing {
    /// What the rule's kind stands for here.
    ///
    /// # Errors
    /// When it stands for nothing.
    pub fn of(kind: &str) -> Result<Self, Failure> {
        match kind {
            "instance" => Ok(Self::Instances),
            "scale_group" => Ok(Self::Group),
            "database" => Ok(Self::Database),
            "containers" => Ok(Self::Service),
            kind => Err(Failure::unsupported(format!(
                "rules of the kind {kind} cannot be minded here: use instance, scale_group, database or containers"
            ))),
        }
    }
}

impl Params {
    /// The one region of these ids, if it is told.
    ///
    /// # Errors
    /// When several are.
    pub fn region(&self, ids: &[String]) -> Result<Option<String>, Failure> {
        let told = [&self.region, &self.scale_group.region, &self.container.region, &self.database.region];
        let told = told.into_iter().chain(&self.regions).map(String::as_str);
        let told = told.chain(ids.iter().filter_map(|id| Some(arn(id)?.0)));
        let regions: BTreeSet<_> = told.filter(|region| !region.is_empty()).collect();
        if regions.len() > 1 {
            let regions = regions.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Failure::unsupported(format!("a rule has one region, not {regions}")));
        }
        Ok(regions.first().map(|region| (*region).to_owned()))
    }
}

/// Region and resource of an ARN; `None` when it is none.
pub fn arn(id: &str) -> Option<(&str, &str)> {
    let mut parts = id.strip_prefix("arn:")?.splitn(5, ':');
    let (_partition, _service) = (parts.next()?, parts.next()?);
    let (region, _account) = (parts.next()?, parts.next()?);
    Some((region, parts.next()?))
}

/// How it was before it was put to sleep, as it is written onto it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// How many were wanted.
    pub desired: u32,
    /// Of these, how many at least.
    pub min: u32,
}

/// The tag that keeps how it was: on the thing itself it survives whatever happens to this machine.
pub const BEFORE: &str = "autostop:before-stop";

impl Before {
    /// As the value of [`BEFORE`].
    pub fn written(self) -> String {
        format!("desired={} min={}", self.desired, self.min)
    }

    /// From the value of [`BEFORE`].
    pub fn read(text: &str) -> Option<Self> {
        let of = |name| text.split(' ').find_map(|part| part.strip_prefix(name)?.parse().ok());
        Some(Self { desired: of("desired=").filter(|desired| *desired > 0)?, min: of("min=").unwrap_or(0) })
    }
}

/// What is said when nobody knows the region.
pub fn no_region() -> Failure {
    let told =
        "no region is known: say it in the rule, as `region` in the provider's options, or in AWS_REGION";
    Failure::new(Kind::Denied, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_one_region_wherever_it_says_it() {
        let check = |params: &str, ids: &[&str], expected: Option<&str>| {
            let params: Params = serde_json::from_str(params).unwrap();
            let ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
            assert_eq!(params.region(&ids).unwrap().as_deref(), expected, "{params:?} {ids:?}");
        };
        check("{}", &["i-1"], None);
        check(r#"{"regions":["eu-west-1"],"later":1}"#, &["i-1"], Some("eu-west-1"));
        check(r#"{"database":{"id":"db","region":"eu-west-1"}}"#, &["db"], Some("eu-west-1"));
        check("{}", &["arn:aws:rds:us-east-2:123456789012:cluster:db"], Some("us-east-2"));
        check(r#"{"region":"us-east-2"}"#, &["arn:aws:rds:us-east-2:1:db:db"], Some("us-east-2"));
        let two = Params { regions: vec!["a".to_owned(), "b".to_owned()], ..Params::default() };
        assert_eq!(two.region(&[]).unwrap_err().kind, Kind::Unsupported);
    }

    #[test]
    fn an_arn_is_taken_apart_and_anything_else_is_none() {
        let group = "arn:aws:autoscaling:eu-west-1:1:autoScalingGroup:uuid:autoScalingGroupName/web";
        assert_eq!(arn(group), Some(("eu-west-1", "autoScalingGroup:uuid:autoScalingGroupName/web")));
        for id in ["i-1", "", "arn:", "arn:aws:rds:eu-west-1:1"] {
            assert_eq!(arn(id), None, "{id}");
        }
    }

    #[test]
    fn what_was_before_is_read_as_it_was_written_and_nothing_else_is() {
        let before = Before { desired: 3, min: 1 };
        assert_eq!(Before::read(&before.written()), Some(before));
        for odd in ["", "desired=", "desired=0 min=0", "min=1", "desired=-1 min=0", "three"] {
            assert_eq!(Before::read(odd), None, "{odd}");
        }
    }
}
