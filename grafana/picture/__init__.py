"""Pictures of the dashboards for the documents, drawn with matplotlib from the answers to the panels' own queries."""
