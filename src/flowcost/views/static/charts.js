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
  const heads = (table) => [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  // Where a click leads: the console follows links without a new page, a file has none.
  const follow = (href) => href && root.dispatchEvent(new CustomEvent("flowcost:follow", { detail: href }));

  const sankey = (table, place) => {
    const rows = body(table);
    const named = heads(table);
    const [costs, bytes] = ["list cost", "bytes"].map((name) => named.indexOf(name));
    const priced = place.dataset.measure !== "bytes" && rows.some((row) => size(row[costs]) > 0);
    const narrow = place.clientWidth < 560;
    const nodes = new Map();
    const links = new Map();
    const node = (depth, label, cell) => {
      const name = `${depth} ${label}`;
      const shade = depth === 1 ? pathColor(label) : color("series-8");
      const href = cell.querySelector("a")?.getAttribute("href");
      const place = depth === 0 && !narrow ? { position: "left", width: 110 } : {};
      nodes.set(name, {
        name,
        depth,
        href,
        label: { formatter: label, ...place },
        itemStyle: { color: shade },
      });
      return name;
    };
    const link = (source, target, value, text, row, path) => {
      const key = `${source} > ${target}`;
      const lineStyle = { color: pathColor(path) };
      const known = links.get(key) ?? { source, target, value: 0, text: [], lineStyle };
      known.value += value;
      known.text.push(...text);
      // A link that several rows share leads to what they share.
      known.href = known.text.length > text.length ? undefined : row.dataset.narrow;
      links.set(key, known);
    };
    for (const row of rows) {
      const value = size(row[priced ? costs : bytes]);
      if (value <= 0) continue;
      const [owner, path, other] = row.map((cell) => cell.textContent);
      const line = row[0].parentElement;
      const shown = [
        `${owner} → ${path} → ${other}: ${row[costs].textContent}, ${row[bytes].textContent}`,
        ...(line.dataset.hint ? line.dataset.hint.split("\n") : []),
      ];
      const middle = node(1, path, row[1]);
      link(node(0, owner, row[0]), middle, value, shown, line, path);
      link(middle, node(2, other, row[2]), value, shown, line, path);
    }
    return {
      series: [
        {
          type: "sankey",
          left: narrow ? 4 : 118,
          right: narrow ? 84 : 160,
          top: 8,
          bottom: 8,
          nodeGap: 10,
          nodeWidth: 14,
          nodeAlign: "justify",
          draggable: false,
          data: [...nodes.values()],
          links: [...links.values()],
          label: {
            color: color("ink"),
            fontSize: narrow ? 11 : 13,
            width: narrow ? 90 : 200,
            overflow: "truncate",
          },
          lineStyle: { opacity: 0.4, curveness: 0.5 },
          emphasis: { focus: "adjacency" },
        },
      ],
      tooltip: {
        formatter: ({ data, dataType, value }) =>
          dataType === "edge"
            ? lines(data.text)
            : lines([data.label.formatter, priced ? "" : binary(value)].filter(Boolean)),
      },
    };
  };

  const money = (value) => `$${value.toLocaleString("en", { maximumSignificantDigits: 4 })}`;
  const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  const binary = (value) => {
    const power = value ? Math.min(Math.floor(Math.log2(value) / 10), UNITS.length - 1) : 0;
    return `${(value / 1024 ** power).toLocaleString("en", { maximumSignificantDigits: 3 })} ${UNITS[power]}`;
  };

  const axes = (labels, format) => ({
    xAxis: {
      type: "category",
      data: labels,
      axisLabel: { color: color("quiet"), hideOverlap: true },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: color("line") } },
    },
    yAxis: {
      type: "value",
      splitNumber: 4,
      axisLabel: { color: color("quiet"), formatter: format },
      splitLine: { lineStyle: { color: color("line") } },
    },
  });

  const seriesColor = (name) => (PATHS.includes(name) ? pathColor(name) : color("accent"));
  const stacked = (rows, names, first) =>
    names.map((name, index) => ({
      name,
      type: "bar",
      stack: "all",
      barMaxWidth: 36,
      barCategoryGap: "18%",
      itemStyle: { color: seriesColor(name) },
      data: rows.map((row) => (row[first + index].dataset.exact === undefined ? null : size(row[first + index]))),
    }));

  const told = (rows, named) => ({
    trigger: "axis",
    formatter: (points) => {
      const row = rows[points[0].dataIndex];
      const texts = named
        .map((name, index) => ({ name, cell: row[index] }))
        .filter(({ name, cell }, index) => index && (size(cell) || !PATHS.includes(name)))
        .map(({ name, cell }) => `${name}: ${cell.textContent}`);
      return lines([row[0].textContent, ...texts]);
    },
  });

  const legend = () => ({
    type: "scroll",
    top: 0,
    left: 0,
    itemWidth: 10,
    itemHeight: 10,
    textStyle: { color: color("quiet"), fontSize: 12 },
    pageIconColor: color("quiet"),
    pageTextStyle: { color: color("quiet") },
  });

  const bars = (table) => {
    const rows = body(table);
    const named = heads(table);
    return {
      grid: { left: 4, right: 4, top: named.length > 3 ? 30 : 8, bottom: 4, containLabel: true },
      ...(named.length > 3 ? { legend: legend() } : {}),
      ...axes(rows.map((row) => row[0].textContent), money),
      series: stacked(rows, named.slice(1, -1), 1),
      tooltip: told(rows, named),
    };
  };

  // Bars over all the time of a selection, beside them the interval before; a drag cuts it.
  const histogram = (table, place) => {
    const rows = body(table);
    const named = heads(table);
    const kinds = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.column);
    const series = stacked(rows, named.filter((_, index) => kinds[index] === "path"), 1);
    const before = kinds.indexOf("before");
    if (before > 0) {
      series.push({
        name: named[before],
        type: "line",
        symbol: "none",
        step: "middle",
        itemStyle: { color: color("quiet") },
        lineStyle: { width: 1.25, type: [3, 3] },
        data: rows.map((row) => (row[before].dataset.exact === undefined ? null : size(row[before]))),
      });
    }
    return {
      grid: { left: 4, right: 4, top: 30, bottom: 4, containLabel: true },
      legend: legend(),
      ...axes(rows.map((row) => row[0].textContent), place.dataset.measure === "bytes" ? binary : money),
      series,
      tooltip: told(rows, named),
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

  // A drag marks whole steps and says which: the rows know their interval.
  const brush = (place, chart, table) => {
    const rows = table.tBodies[0].rows;
    const across = (event) => event.clientX - place.getBoundingClientRect().left;
    const slot = (x) => {
      const at = Math.round(chart.convertFromPixel({ xAxisIndex: 0 }, x));
      return Math.min(Math.max(at, 0), rows.length - 1);
    };
    let from = null;
    let box = null;
    const end = () => {
      box?.remove();
      from = box = null;
    };
    place.addEventListener("pointerdown", (event) => {
      const names = event.clientY - place.getBoundingClientRect().top < 28;
      if (event.button === 0 && !names) from = across(event);
    });
    place.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = across(event);
      if (!box && Math.abs(to - from) < 6) return;
      if (!box) {
        box = place.appendChild(Object.assign(document.createElement("div"), { className: "brush" }));
        place.setPointerCapture(event.pointerId);
      }
      box.style.left = `${Math.min(from, to)}px`;
      box.style.width = `${Math.abs(to - from)}px`;
    });
    place.addEventListener("pointerup", (event) => {
      if (box) {
        const [first, last] = [from, across(event)].sort((a, b) => a - b).map(slot);
        const detail = { from: rows[first].dataset.from, to: rows[last].dataset.to };
        root.dispatchEvent(new CustomEvent("flowcost:cut", { detail }));
      }
      end();
    });
    place.addEventListener("pointercancel", end);
  };

  const DRAW = { sankey, bars, histogram };
  const drawn = new Map();

  const draw = (place) => {
    const table = document.getElementById(place.dataset.table);
    place.hidden = false;
    const option = DRAW[place.dataset.chart](table, place);
    if (!option.series.length || !(option.series[0].data ?? []).length) {
      place.hidden = true;
      return;
    }
    const chart = echarts.getInstanceByDom(place) ?? echarts.init(place, null, { renderer: "svg" });
    chart.setOption(
      {
        animation: false,
        aria: { enabled: true, label: { enabled: false }, decal: { show: place.dataset.chart === "bars" && option.series.length > 1 } },
        ...option,
        tooltip: {
          confine: true,
          backgroundColor: color("panel"),
          borderColor: color("line"),
          textStyle: { color: color("ink"), fontSize: 13 },
          ...option.tooltip,
        },
      },
      true,
    );
    if (drawn.has(place)) return;
    drawn.set(place, chart);
    chart.on("click", ({ data, seriesType, dataIndex }) => {
      const row = table.tBodies[0].rows[dataIndex];
      follow(seriesType === "sankey" ? data.href : row?.querySelector("a")?.getAttribute("href"));
    });
    if (place.dataset.chart === "histogram") brush(place, chart, table);
  };

  const all = () => {
    for (const [place, chart] of drawn) {
      if (place.isConnected) continue;
      chart.dispose();
      drawn.delete(place);
    }
    document.querySelectorAll("[data-chart]").forEach(draw);
    root.dataset.charts = String(drawn.size);
  };
  const resize = () => drawn.forEach((chart) => chart.resize());
  all();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  root.addEventListener("flowcost:redraw", all);
  addEventListener("resize", resize);
  addEventListener("beforeprint", () => {
    resize();
    all();
  });
  addEventListener("afterprint", all);
})();
