"""``report.html``: everything known of a build on one page; a module and a template for each section of it."""
