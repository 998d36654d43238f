//! Tables and rows, by vtctldclient and through vtgate: keyspace commerce with all of them, keyspace customer sharded and empty.

use std::{fmt::Write, time::Duration};

use crate::{process::wait_until, suite::Suite};

/// Rows of the table that only the sharded keyspace has.
const NOTES: usize = 500;
/// Customers, orders, and things to buy.
const CUSTOMERS: usize = 1000;
const ORDERS: usize = 2000;
const PRODUCTS: usize = 50;

const TABLES: &str = "
create table product(sku varbinary(64) not null primary key, description varchar(200), price bigint not null);
create table customer(customer_id bigint not null primary key, email varchar(128) not null, balance bigint not null default 0);
create table corder(order_id bigint not null primary key, customer_id bigint not null, sku varbinary(64), price bigint not null,
    key by_customer(customer_id));
";

const NOTE: &str = "create table note(id bigint not null primary key, text varchar(100) not null)";

const COMMERCE: &str = r#"{"tables":{"product":{},"customer":{},"corder":{}}}"#;
const CUSTOMER: &str = r#"{"sharded":true,"vindexes":{"hash":{"type":"hash"},"bytes":{"type":"xxhash"}},"tables":{
"customer":{"column_vindexes":[{"column":"customer_id","name":"hash"}]},
"corder":{"column_vindexes":[{"column":"customer_id","name":"hash"}]},
"note":{"column_vindexes":[{"column":"id","name":"hash"}]},
"sales":{"column_vindexes":[{"column":"sku","name":"bytes"}]}}}"#;

pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    suite.stage("nothing")?;
    suite.cluster.vtctldclient(["ApplySchema", "--sql", TABLES, "commerce"])?.must_succeed()?;
    suite.cluster.vtctldclient(["ApplySchema", "--sql", NOTE, "customer"])?.must_succeed()?;
    for (keyspace, vschema) in [("commerce", COMMERCE), ("customer", CUSTOMER)] {
        suite.cluster.vtctldclient(["ApplyVSchema", "--vschema", vschema, keyspace])?.must_succeed()?;
    }
    wait_until("vtgate knows the tables", Duration::from_secs(30), || {
        Ok(suite.cluster.vtgate("commerce", "select count(*) from corder").is_ok()
            && suite.cluster.vtgate("customer", "select count(*) from note").is_ok())
    })?;
    let cluster = &suite.cluster;
    cluster.vtgate(
        "commerce",
        &rows("customer(customer_id, email, balance)", CUSTOMERS, |n| format!("{n}, 'c{n}@example.com', {}", n % 7)),
    )?;
    cluster.vtgate(
        "commerce",
        &rows("corder(order_id, customer_id, sku, price)", ORDERS, |n| {
            format!("{n}, {}, 'sku{}', {}", n % CUSTOMERS + 1, n % PRODUCTS, n % 90)
        }),
    )?;
    cluster.vtgate("commerce", &rows("product(sku, description, price)", PRODUCTS, |n| format!("'sku{n}', 'thing {n}', {n}")))?;
    cluster.vtgate("customer", &rows("note(id, text)", NOTES, |n| format!("{n}, 'note {n}'")))?;
    let count = cluster.vtgate("commerce", "select count(*) from corder")?;
    suite.check("rows are there", count.contains(&ORDERS.to_string()), || count.clone());
    let told = suite.vtflow("get workflows")?;
    suite.says("vtflow says that there are no workflows", &told, 0, &["commerce  0", "customer  0"]);
    Ok(())
}

fn rows(table: &str, count: usize, row: impl Fn(usize) -> String) -> String {
    let mut statement = format!("insert into {table} values ");
    for n in 1..=count {
        let _ = write!(statement, "{}({})", if n == 1 { "" } else { ", " }, row(n));
    }
    statement
}
