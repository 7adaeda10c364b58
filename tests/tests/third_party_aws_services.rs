//! Scale groups, databases and container services of Amazon are put to sleep and woken, however rude it is, and come
//! back as what they were: by the plug-in alone.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;
use tests::{
    amazon::{Amazon, REGION, before, element, fault, plugin_at, taken},
    rude::Manner,
};

#[test]
fn a_scale_group_goes_to_nothing_and_back_to_what_it_was() {
    let amazon = Amazon::start();
    let launch =
        [("LaunchConfigurationName", "lc"), ("ImageId", "ami-12c6146b"), ("InstanceType", "t2.micro")];
    amazon.ask("autoscaling", "CreateLaunchConfiguration", &launch);
    let group = [
        ("AutoScalingGroupName", "web"),
        ("LaunchConfigurationName", "lc"),
        ("AvailabilityZones.member.1", "eu-west-1a"),
        ("MinSize", "2"),
        ("MaxSize", "5"),
        ("DesiredCapacity", "3"),
    ];
    amazon.ask("autoscaling", "CreateAutoScalingGroup", &group);
    let sizes = || {
        let told = amazon.ask(
            "autoscaling",
            "DescribeAutoScalingGroups",
            &[("AutoScalingGroupNames.member.1", "web")],
        );
        let size = |name| element(&told, name).unwrap().parse::<u32>().unwrap();
        (size("MinSize"), size("DesiredCapacity"), size("MaxSize"))
    };
    let (mut plugin, rude) = before(&amazon);
    let params = json!({ "scale_group": { "name": "web" } });
    assert_eq!(plugin.status("web", "scale_group", &params), "running");
    let told = plugin.ask("describe", &["web"], "scale_group", &params);
    assert_eq!(told["targets"]["web"]["addresses"].as_array().unwrap().len(), 3, "{told}");
    // What it was is on the group before anything is changed: cut off amid the stop, it is known all the same.
    rude.will("UpdateAutoScalingGroup", vec![Manner::Lose; 3]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "scale_group", &params)), "interrupted");
    assert_eq!(sizes(), (0, 0, 5));
    taken(&plugin.ask("start", &["web"], "scale_group", &params));
    assert_eq!(sizes(), (2, 3, 5));
    // A second stop does not overwrite it.
    rude.will("UpdateAutoScalingGroup", [Manner::Refuse(400, "ScalingActivityInProgress")]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "scale_group", &params)), "busy");
    assert_eq!(sizes(), (2, 3, 5));
    for _ in 0..2 {
        taken(&plugin.ask("stop", &["web"], "scale_group", &params));
    }
    assert_eq!(sizes(), (0, 0, 5));
    assert_eq!(plugin.status("web", "scale_group", &params), "stopped");
    // Another life of the plug-in knows it too.
    let mut again = plugin_at(rude.address);
    taken(&again.ask("start", &["web"], "scale_group", &params));
    assert_eq!(sizes(), (2, 3, 5));
    assert_eq!(again.status("web", "scale_group", &params), "running");
    taken(&again.ask("stop", &["web"], "scale_group", &params));
    let told = json!({ "scale_group": { "name": "web", "desired": 4, "min": 1, "max": 6 } });
    taken(&again.ask("start", &["web"], "scale_group", &told));
    assert_eq!(sizes(), (1, 4, 6));
    assert_eq!(fault(&again.ask("start", &["nothing"], "scale_group", &params)), "gone");
    assert_eq!(again.status("nothing", "scale_group", &params), "missing");
    let hibernate = json!({ "how": "hibernate" });
    assert_eq!(fault(&again.ask("stop", &["web"], "scale_group", &hibernate)), "unsupported");
}

/// A cluster, as RDS is asked to create it.
const CLUSTER: [(&str, &str); 4] = [
    ("DBClusterIdentifier", "books"),
    ("Engine", "aurora-postgresql"),
    ("MasterUsername", "root"),
    ("MasterUserPassword", "correct-horse"),
];

#[test]
fn databases_and_their_clusters_are_stopped_and_started() {
    let amazon = Amazon::start();
    let instance = [
        ("DBInstanceIdentifier", "shop"),
        ("DBInstanceClass", "db.t3.micro"),
        ("Engine", "postgres"),
        ("AllocatedStorage", "20"),
        ("MasterUsername", "root"),
        ("MasterUserPassword", "correct-horse"),
    ];
    amazon.ask("rds", "CreateDBInstance", &instance);
    amazon.ask("rds", "CreateDBCluster", &CLUSTER);
    let (mut plugin, rude) = before(&amazon);
    for (id, verb) in [("shop", "DBInstance"), ("books", "DBCluster")] {
        let params = json!({ "database": { "id": id, "region": REGION } });
        assert_eq!(plugin.status(id, "database", &params), "running");
        let told = plugin.ask("describe", &[id], "database", &params);
        let address = told["targets"][id]["addresses"][0].as_str().unwrap();
        assert!(address.contains("rds.amazonaws.com"), "{address}");
        for _ in 0..2 {
            taken(&plugin.ask("stop", &[id], "database", &params));
        }
        assert_eq!(plugin.status(id, "database", &params), "stopped");
        assert_eq!(rude.asked(&format!("Stop{verb}")), 1);
        for _ in 0..2 {
            taken(&plugin.ask("start", &[id], "database", &params));
        }
        assert_eq!(plugin.status(id, "database", &params), "running");
        assert_eq!(rude.asked(&format!("Start{verb}")), 1);
    }
    let params = json!({ "database": { "id": "shop" } });
    // It changes: come again. It was seen late: it is down already. It has settled and refuses: it never will.
    rude.will("StopDBInstance", [Manner::Refuse(400, "InvalidDBInstanceState")]);
    rude.will(
        "DescribeDBInstances",
        [
            Manner::Lag("<DBInstanceStatus>available<", "<DBInstanceStatus>backing-up<"),
            Manner::Lag("<DBInstanceStatus>available<", "<DBInstanceStatus>backing-up<"),
        ],
    );
    assert_eq!(fault(&plugin.ask("stop", &["shop"], "database", &params)), "busy");
    rude.will("StopDBInstance", [Manner::Refuse(400, "InvalidDBInstanceState")]);
    let answer = plugin.ask("stop", &["shop"], "database", &params);
    assert_eq!(fault(&answer), "unsupported", "{answer}");
    taken(&plugin.ask("stop", &["shop"], "database", &params));
    rude.will(
        "DescribeDBInstances",
        [Manner::Lag("<DBInstanceStatus>stopped<", "<DBInstanceStatus>available<")],
    );
    taken(&plugin.ask("stop", &["shop"], "database", &params));
    rude.will("StartDBInstance", [Manner::Refuse(400, "InsufficientDBInstanceCapacity")]);
    assert_eq!(fault(&plugin.ask("start", &["shop"], "database", &params)), "no_capacity");
    rude.will(
        "DescribeDBInstances",
        [Manner::Lag("<DBInstanceStatus>stopped<", "<DBInstanceStatus>incompatible-network<")],
    );
    let broken = plugin.ask("status", &["shop"], "database", &params);
    assert_eq!(broken["targets"]["shop"]["error"]["message"], "RDS says that it is incompatible-network");
    assert_eq!(plugin.status("nothing", "database", &params), "missing");
    assert_eq!(fault(&plugin.ask("start", &["nothing"], "database", &params)), "gone");
    let arn = format!("arn:aws:rds:{REGION}:123456789012:cluster:books");
    assert_eq!(plugin.status(&arn, "database", &json!({})), "running");
    assert_eq!(rude.still_rude(), 0);
}

#[test]
fn a_member_of_a_cluster_is_refused_and_the_cluster_is_named() {
    let amazon = Amazon::start();
    amazon.ask("rds", "CreateDBCluster", &CLUSTER);
    let member = [
        ("DBInstanceIdentifier", "books-1"),
        ("DBClusterIdentifier", "books"),
        ("DBInstanceClass", "db.r5.large"),
        ("Engine", "aurora-postgresql"),
    ];
    amazon.ask("rds", "CreateDBInstance", &member);
    let (mut plugin, rude) = before(&amazon);
    let answer = plugin.ask("stop", &["books-1"], "database", &json!({}));
    assert_eq!((fault(&answer), rude.asked("StopDBInstance")), ("unsupported", 0));
    assert!(answer["error"]["message"].as_str().unwrap().contains("the cluster books"), "{answer}");
}

#[test]
fn a_container_service_goes_to_nothing_and_back_to_what_it_was() {
    let amazon = Amazon::start();
    amazon.tell("ecs", "CreateCluster", &json!({ "clusterName": "lab" }));
    let task =
        json!({ "family": "web", "containerDefinitions": [{ "name": "web", "image": "web", "memory": 64 }] });
    amazon.tell("ecs", "RegisterTaskDefinition", &task);
    let service =
        json!({ "cluster": "lab", "serviceName": "web", "taskDefinition": "web", "desiredCount": 3 });
    amazon.tell("ecs", "CreateService", &service);
    let count = || {
        let told = amazon.tell("ecs", "DescribeServices", &json!({ "cluster": "lab", "services": ["web"] }));
        told["services"][0]["desiredCount"].as_u64().unwrap()
    };
    let (mut plugin, rude) = before(&amazon);
    let params = json!({ "container": { "cluster": "lab", "service": "web" } });
    // Here no task ever comes up by itself.
    assert_eq!(plugin.status("web", "containers", &params), "starting");
    rude.will("UpdateService", vec![Manner::Lose; 3]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "containers", &params)), "interrupted");
    assert_eq!(count(), 0);
    taken(&plugin.ask("start", &["web"], "containers", &params));
    assert_eq!(count(), 3);
    rude.will("UpdateService", vec![Manner::Refuse(400, "ThrottlingException"); 3]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "containers", &params)), "throttled");
    for _ in 0..2 {
        taken(&plugin.ask("stop", &["web"], "containers", &params));
    }
    assert_eq!(count(), 0);
    assert_eq!(plugin.status("web", "containers", &params), "stopped");
    let mut again = plugin_at(rude.address);
    taken(&again.ask("start", &["web"], "containers", &params));
    assert_eq!(count(), 3);
    assert_eq!(again.status("web", "containers", &params), "running");
    taken(&again.ask("stop", &["web"], "containers", &params));
    let told = json!({ "container": { "cluster": "lab", "service": "web", "task_count": 2 } });
    taken(&again.ask("start", &["web"], "containers", &told));
    assert_eq!(count(), 2);
    // With its count in the rule nothing is written onto it: that may not be allowed.
    let tagged = rude.asked("TagResource");
    taken(&again.ask("stop", &["web"], "containers", &told));
    assert_eq!(rude.asked("TagResource"), tagged);
    assert_eq!(fault(&again.ask("start", &["nothing"], "containers", &params)), "gone");
    let elsewhere = json!({ "container": { "cluster": "nowhere" } });
    assert_eq!(fault(&again.ask("start", &["web"], "containers", &elsewhere)), "gone");
}
