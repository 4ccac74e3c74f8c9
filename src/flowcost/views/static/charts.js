// Draws each chart from the table it names: the table is the data, the chart an extra.
"use strict";
(() => {
  const root = document.documentElement;
  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  // One colour per billing path, in every chart; grey for what is not a path.
  const PATHS = [
    "nat_gateway",
    "cross_az",
    "internet_egress",
    "cross_region",
    "same_zone",
    "transit_gateway",
    "vpc_endpoint",
    "unknown",
    "vpc_peering",
    "cloud_service_public",
    "internet_ingress",
    "external_private",
    "cloud_infra",
  ];
  const pathColor = (path) => {
    const index = PATHS.indexOf(path);
    return color(index < 0 ? "series-8" : `series-${(index % 8) + 1}`);
  };

  // Pixels need no exact money: only drawn lengths go through floating point.
  const size = (cell) => Number(cell.dataset.exact ?? 0);
  const body = (table) => [...table.tBodies[0].rows].map((row) => [...row.cells]);

  const sankey = (table) => {
    const rows = body(table);
    const priced = rows.some((row) => size(row[4]) > 0);
    const nodes = new Map();
    const links = new Map();
    const node = (depth, label) => {
      const name = `${depth} ${label}`;
      const shade = depth === 1 ? pathColor(label) : color("series-8");
      nodes.set(name, { name, depth, label: { formatter: label }, itemStyle: { color: shade } });
      return name;
    };
    const link = (source, target, value, text, path) => {
      const key = `${source} > ${target}`;
      const lineStyle = { color: pathColor(path) };
      const known = links.get(key) ?? { source, target, value: 0, text: [], lineStyle };
      known.value += value;
      known.text.push(text);
      links.set(key, known);
    };
    for (const row of rows) {
      const value = size(row[priced ? 4 : 3]);
      if (value <= 0) continue;
      const [owner, path, other] = row.map((cell) => cell.textContent);
      const shown = `${owner} → ${path} → ${other}: ${row[4].textContent}, ${row[3].textContent}`;
      const middle = node(1, path);
      link(node(0, owner), middle, value, shown, path);
      link(middle, node(2, other), value, shown, path);
    }
    return {
      series: [
        {
          type: "sankey",
          left: 4,
          right: 160,
          top: 8,
          bottom: 8,
          nodeAlign: "justify",
          draggable: false,
          data: [...nodes.values()],
          links: [...links.values()],
          label: { color: color("ink"), fontSize: 13 },
          lineStyle: { opacity: 0.45 },
          emphasis: { focus: "adjacency" },
        },
      ],
      tooltip: {
        formatter: ({ data, dataType }) =>
          dataType === "edge" ? lines(data.text) : lines([data.label.formatter]),
      },
    };
  };

  const bars = (table) => {
    const rows = body(table);
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const series = heads.slice(1, -1).map((name, index) => ({
      name,
      type: "bar",
      stack: "cost",
      barMaxWidth: 36,
      itemStyle: { color: pathColor(name) },
      data: rows.map((row) => size(row[index + 1])),
    }));
    return {
      grid: { left: 72, right: 8, top: 40, bottom: 32 },
      legend: { top: 0, textStyle: { color: color("ink") } },
      xAxis: {
        type: "category",
        data: rows.map((row) => row[0].textContent),
        axisLabel: { color: color("quiet") },
        axisLine: { lineStyle: { color: color("line") } },
      },
      yAxis: {
        type: "value",
        axisLabel: { color: color("quiet"), formatter: (value) => `$${value}` },
        splitLine: { lineStyle: { color: color("line") } },
      },
      series,
      tooltip: {
        trigger: "axis",
        formatter: (points) => {
          const row = rows[points[0].dataIndex];
          const texts = heads.map((head, index) => `${head}: ${row[index].textContent}`);
          return lines([row[0].textContent, ...texts.slice(1)]);
        },
      },
    };
  };

  // Labels come from the ledger: they are text, never markup.
  const lines = (texts) => {
    const box = document.createElement("div");
    for (const text of texts.slice(0, 12)) {
      const line = document.createElement("div");
      line.textContent = text;
      box.append(line);
    }
    return box;
  };

  const DRAW = { sankey, bars };
  const drawn = [];

  const draw = (place) => {
    const table = document.getElementById(place.dataset.table);
    const option = DRAW[place.dataset.chart](table);
    if (!option.series.length || !(option.series[0].data ?? []).length) return;
    place.hidden = false;
    const chart = echarts.getInstanceByDom(place) ?? echarts.init(place, null, { renderer: "svg" });
    chart.setOption(
      {
        animation: false,
        aria: { enabled: true, label: { enabled: false }, decal: { show: place.dataset.chart === "bars" } },
        ...option,
        tooltip: {
          confine: true,
          backgroundColor: color("panel"),
          borderColor: color("line"),
          textStyle: { color: color("ink") },
          ...option.tooltip,
        },
      },
      true,
    );
    if (!drawn.includes(chart)) drawn.push(chart);
  };

  const all = () => document.querySelectorAll("[data-chart]").forEach(draw);
  all();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  addEventListener("resize", () => drawn.forEach((chart) => chart.resize()));
  addEventListener("beforeprint", () => {
    drawn.forEach((chart) => chart.resize());
    all();
  });
  addEventListener("afterprint", all);
  root.dataset.charts = String(drawn.length);
})();
